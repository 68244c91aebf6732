// Unfold what the address leads to; without scripts the browser may do so itself.
const reveal = () => {
  const target = document.getElementById(location.hash.slice(1));
  for (let each = target; each; each = each.parentElement) if (each.tagName === "DETAILS") each.open = true;
  target?.scrollIntoView();
};
addEventListener("hashchange", reveal);
reveal();
