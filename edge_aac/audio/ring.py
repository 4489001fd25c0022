"""The ring of samples between the capture thread and the loop: preallocated, counted, never silent about a loss."""

from __future__ import annotations

import threading
import time

import numpy as np
import numpy.typing as npt


class SampleRing:
    """Hands samples from one writer thread to one reader thread.

    Positions are absolute: sample 0 is the first ever written, and Python's integers never wrap. Lost sound
    advances the position too, so that a position is a time for as long as the stream lasts.

    Args:
        capacity_samples: samples held at most; the memory is taken once, here.

    Raises:
        ValueError: the capacity is not positive.
    """

    def __init__(self, capacity_samples: int) -> None:
        if capacity_samples <= 0:
            raise ValueError(f"capacity_samples must be positive, not {capacity_samples}")
        self._buffer = np.zeros(capacity_samples, np.float32)
        self._changed = threading.Condition()
        self._written = 0
        self._consumed = 0
        self._overrun_samples = 0
        self._gap_samples = 0
        self._gaps: list[tuple[int, int]] = []
        """From where to where zeros stand for lost sound, of what is unread."""
        self._closed = False
        self._error: BaseException | None = None
        self._writing_stopped = False

    @property
    def capacity_samples(self) -> int:
        """Samples held at most."""
        return len(self._buffer)

    @property
    def backlog_samples(self) -> int:
        """Samples written and not yet read."""
        with self._changed:
            return self._written - self._consumed

    @property
    def written_samples(self) -> int:
        """Absolute position of the next sample to be written, gaps included."""
        with self._changed:
            return self._written

    @property
    def overrun_samples(self) -> int:
        """Samples of sound overwritten before the reader saw them, in total; zeros of a gap are none."""
        with self._changed:
            return self._overrun_samples

    @property
    def gap_samples(self) -> int:
        """Samples that the writer reported as lost before the ring, in total."""
        with self._changed:
            return self._gap_samples

    def write(self, samples: npt.NDArray[np.float32], *, block: bool) -> None:
        """Appends samples; more than the capacity may come at once.

        Args:
            samples: float32, shape (n,).
            block: True waits for space, so that nothing is lost (files). False overwrites the oldest unread samples
                and counts them (microphones). After :meth:`stop_writing` both return at once.

        Raises:
            ValueError: the ring is closed.
        """
        with self._changed:
            offset = 0
            while True:
                self._refuse_if_closed()
                if self._writing_stopped:
                    return
                if not block:
                    self._append(samples)
                    break
                space = self.capacity_samples - (self._written - self._consumed)
                piece = samples[offset : offset + space]
                self._append(piece)
                offset += len(piece)
                if offset == len(samples):
                    break
                self._changed.notify_all()
                self._changed.wait()
            self._changed.notify_all()

    def write_gap(self, count: int) -> None:
        """Lets time advance over lost sound: zeros stand in its place. Never waits.

        Unread samples that the zeros push out count as overrun. Zeros that do not fit are skipped, and count
        as gap only.

        Args:
            count: samples lost.

        Raises:
            ValueError: the count is negative, or the ring is closed.
        """
        if count < 0:
            raise ValueError(f"count must not be negative, not {count}")
        with self._changed:
            self._refuse_if_closed()
            if self._writing_stopped:
                return
            self._gap_samples += count
            held = min(count, self.capacity_samples)
            self._written += count
            self._gaps.append((self._written - count, self._written))
            self._push_out(self._written - self.capacity_samples)
            self._store(np.zeros(held, np.float32))
            self._changed.notify_all()

    def wait_for_room(self, count: int, timeout_s: float) -> bool:
        """Called by the writer: waits until ``count`` samples, or the whole ring, fit without pushing anything out.

        Args:
            count: samples that are to be written.
            timeout_s: longest wait in seconds.

        Returns:
            Whether there is room, or nobody reads any more.
        """
        most_unread = self.capacity_samples - min(count, self.capacity_samples)
        with self._changed:
            return self._changed.wait_for(
                lambda: self._written - self._consumed <= most_unread or self._writing_stopped,
                timeout_s,
            )

    def close(self, error: BaseException | None = None) -> None:
        """Ends the stream. The reader drains what is left, then sees the end, or has ``error`` raised.

        May be called again; the first call counts.

        Args:
            error: why the writer ended, where it did not end in order.
        """
        with self._changed:
            if not self._closed:
                self._closed = True
                self._error = error
            self._changed.notify_all()

    def stop_writing(self) -> None:
        """Called by the reader as it leaves: a writer that waits for space returns, and later writes are dropped."""
        with self._changed:
            self._writing_stopped = True
            self._changed.notify_all()

    def read(self, max_samples: int, timeout_s: float) -> tuple[int, npt.NDArray[np.float32]] | None:
        """Takes the oldest unread samples, waiting for the first of them.

        Args:
            max_samples: largest number of samples to take.
            timeout_s: longest wait for the first sample, in seconds.

        Returns:
            The absolute position of the first sample, and a copy of the samples, float32, shape (n,), n = 0 after the
            timeout. After an overrun the position has jumped. None at the end.

        Raises:
            ValueError: ``max_samples`` is not positive.
            BaseException: the error that the writer gave to :meth:`close`, once everything before it is read.
        """
        if max_samples <= 0:
            raise ValueError(f"max_samples must be positive, not {max_samples}")
        deadline_s = time.monotonic() + timeout_s
        with self._changed:
            while self._written == self._consumed:
                if self._closed:
                    if self._error is not None:
                        raise self._error
                    return None
                remaining_s = deadline_s - time.monotonic()
                if remaining_s <= 0:
                    return self._consumed, np.zeros(0, np.float32)
                self._changed.wait(remaining_s)
            position = self._consumed
            count = min(max_samples, self._written - position)
            samples = self._copied(position, count)
            self._consumed += count
            self._changed.notify_all()
            return position, samples

    def history(self, start: int, end: int) -> tuple[int, npt.NDArray[np.float32]]:
        """Samples that were written, read or not, as long as nothing newer stands in their place.

        Neither reader nor writer is disturbed: what is read here is not taken, and nobody waits.

        Args:
            start, end: absolute positions, the first sample and the one after the last.

        Returns:
            The absolute position of the first sample that is still held, ``start`` or later, and a copy of the samples
            from there to ``end`` or to the newest, float32, shape (n,). Zeros stand for lost sound.
        """
        with self._changed:
            end = min(end, self._written)
            start = min(max(start, self._written - self.capacity_samples, 0), end)
            return start, self._copied(start, end - start)

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise ValueError("the ring is closed for writing")

    def _append(self, samples: npt.NDArray[np.float32]) -> None:
        self._written += len(samples)
        self._push_out(self._written - self.capacity_samples)
        self._store(samples[-self.capacity_samples :])

    def _push_out(self, oldest_held: int) -> None:
        """Lets go of what is unread before a position; what of it was sound counts as overrun."""
        if oldest_held > self._consumed:
            zeros = sum(max(0, min(last, oldest_held) - max(first, self._consumed)) for first, last in self._gaps)
            self._overrun_samples += oldest_held - self._consumed - zeros
            self._consumed = oldest_held
        self._gaps = [gap for gap in self._gaps if gap[1] > self._consumed]

    def _store(self, samples: npt.NDArray[np.float32]) -> None:
        """Puts samples right before the write position, which has already moved."""
        start = (self._written - len(samples)) % self.capacity_samples
        head = min(len(samples), self.capacity_samples - start)
        self._buffer[start : start + head] = samples[:head]
        self._buffer[: len(samples) - head] = samples[head:]

    def _copied(self, position: int, count: int) -> npt.NDArray[np.float32]:
        start = position % self.capacity_samples
        head = min(count, self.capacity_samples - start)
        return np.concatenate((self._buffer[start : start + head], self._buffer[: count - head]))
