"""The answer to whether a recurrent network is worth what it costs on a text."""
