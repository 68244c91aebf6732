"""The containers of docs/cluster: their commands are commands of this project, and what they name is there."""

import ipaddress
import re
import shlex
from typing import Any

import click
import pytest
import yaml

from pipeline.cli.main import cli
from tests.project.test_project import ROOT
from tests.project.test_repository import CONTAINER_HOME, arguments

COMPOSE = yaml.safe_load((ROOT / "docs" / "cluster" / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
OBJECTS = {
    (found["kind"], found["metadata"]["name"]): found
    for found in yaml.safe_load_all((ROOT / "docs" / "cluster" / "kubernetes.yaml").read_text())
}
PROGRAM = ".venv/bin/tmlm"


def parsed(words: str | list[str], *more: str) -> dict[str, object]:
    """The options of a command of this project, as it reads them; click.UsageError if it would refuse them."""
    program, *rest = shlex.split(words) if isinstance(words, str) else words
    assert program == PROGRAM
    command: click.Command = cli
    rest += more
    while isinstance(command, click.Group):
        name = rest.pop(0)
        command = command.commands[name]
    return command.make_context(name, rest).params


@pytest.mark.parametrize("name", ["head", "node"])
def test_a_container_starts_a_command_that_there_is(name):
    assert parsed(SERVICES[name]["command"])


def test_a_search_takes_more_options():
    assert parsed(SERVICES["search"]["entrypoint"], "--trials", "40")["trials"] == 40


def test_keys_are_made_where_every_container_looks_for_them():
    (made,) = re.findall(rf"{PROGRAM} [^;]+", SERVICES["keys"]["command"])
    folder = parsed(made)["directory"]
    for service in SERVICES.values():
        assert service["environment"]["TMLM_CLUSTER_KEYS"] == folder
        assert any(volume.split(":")[:2] == ["keys", folder] for volume in service["volumes"])


def test_only_the_container_that_makes_keys_runs_as_root_and_may_write_them():
    assert [name for name, service in SERVICES.items() if "user" in service] == ["keys"]
    assert [name for name, service in SERVICES.items() if "keys:/keys" in service["volumes"]] == ["keys"]


def test_the_head_listens_on_the_address_that_is_its_own():
    host = SERVICES["head"]["networks"]["default"]["ipv4_address"]
    assert parsed(SERVICES["head"]["command"])["host"] == host
    (network,) = COMPOSE["networks"]["default"]["ipam"]["config"]
    assert ipaddress.ip_address(host) in ipaddress.ip_network(network["subnet"])
    assert ipaddress.ip_address(host) not in ipaddress.ip_network(network["ip_range"]), "no node can have it"


def test_nodes_and_searches_go_to_the_port_that_the_head_listens_on():
    port = parsed(SERVICES["head"]["command"])["port"]
    assert parsed(SERVICES["node"]["command"])["address"] == f"tls://head:{port}"
    assert parsed(SERVICES["search"]["entrypoint"])["cluster"] == f"tls://head:{port}"


def test_what_is_recorded_is_kept_in_a_volume_where_the_project_records():
    assert arguments("WORKDIR") == [CONTAINER_HOME]
    for name in ("head", "search"):
        assert f"mlruns:{CONTAINER_HOME}/mlruns" in SERVICES[name]["volumes"]


def test_the_image_is_built_from_the_dockerfile_with_the_extra_of_a_cluster():
    build = SERVICES["keys"]["build"]
    assert (ROOT / "docs" / "cluster" / build["context"] / "Dockerfile").is_file()
    assert build["args"] == {"EXTRAS": "[cluster]"}
    assert {service["image"] for service in SERVICES.values()} == {SERVICES["keys"]["image"]}


def pod(name: str) -> dict[str, Any]:
    """What the pods of a Deployment of the Kubernetes file have."""
    spec: dict[str, Any] = OBJECTS["Deployment", name]["spec"]["template"]["spec"]
    return spec


def container(name: str) -> dict[str, Any]:
    (only,) = pod(name)["containers"]
    return dict(only)


def test_a_head_in_kubernetes_listens_on_its_pods_address():
    assert parsed(container("tmlm-head")["command"])["host"] == "$(POD_IP)"
    (pod_ip, _) = container("tmlm-head")["env"]
    assert pod_ip == {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}


def test_a_node_in_kubernetes_goes_to_the_service_of_the_head():
    port = parsed(container("tmlm-head")["command"])["port"]
    assert parsed(container("tmlm-node")["command"])["address"] == f"tls://tmlm-head:{port}"
    service = OBJECTS["Service", "tmlm-head"]["spec"]
    assert service["clusterIP"] == "None"
    assert service["selector"] == OBJECTS["Deployment", "tmlm-head"]["spec"]["template"]["metadata"]["labels"]


@pytest.mark.parametrize("name", ["tmlm-head", "tmlm-node"])
def test_a_pod_has_the_keys_where_it_looks_for_them_as_the_user_of_the_image(name):
    variables = {each["name"]: each.get("value") for each in container(name)["env"]}
    mounts = {each["name"]: each["mountPath"] for each in container(name)["volumeMounts"]}
    assert mounts["keys"] == variables["TMLM_CLUSTER_KEYS"]
    (secret,) = [volume["secret"] for volume in pod(name)["volumes"] if volume["name"] == "keys"]
    assert secret == {"secretName": "tmlm-keys", "defaultMode": 0o440}
    assert pod(name)["securityContext"] == {"runAsUser": 1000, "fsGroup": 1000}


def test_what_is_recorded_in_kubernetes_is_kept_where_the_project_records():
    mounts = {each["name"]: each["mountPath"] for each in container("tmlm-head")["volumeMounts"]}
    assert mounts["mlruns"] == f"{CONTAINER_HOME}/mlruns"
    (claim,) = [volume["persistentVolumeClaim"] for volume in pod("tmlm-head")["volumes"] if volume["name"] == "mlruns"]
    assert ("PersistentVolumeClaim", claim["claimName"]) in OBJECTS
