"""What makes of a stream a service that is watched over: what others can see of it, and when it is known to be dead."""

from __future__ import annotations
