"""Links microcontrollers: their microphones are sources, their displays and vibrators are sinks."""
