"""How fast reports are made, beside the engine's own export and the usual way of open billing systems."""
