"""The kinds of models that engines are built for; see :class:`quantize.device.checked_kind.CheckedKind`."""
