#include "bridge/ring.h"

/* The writer may be another core's: what it wrote must be there before its index says so. */
#if defined(__GNUC__)
#define BARRIER() __sync_synchronize()
#elif !defined(BARRIER)
#error "define BARRIER() as a full memory barrier of this compiler"
#endif

#define LARGEST 0x40000000U

bool bridge_ring_init(bridge_ring *ring, int16_t *samples, uint32_t capacity) {
  if (capacity < 2U || capacity > LARGEST || (capacity & (capacity - 1U)) != 0) {
    return false;
  }
  ring->samples = samples;
  ring->mask = capacity - 1U;
  ring->head = 0;
  ring->tail = 0;
  ring->dropping = 0;
  ring->hole_at = 0;
  ring->hole_size = 0;
  return true;
}

void bridge_ring_write(bridge_ring *ring, const int16_t *samples, uint32_t count) {
  const uint32_t capacity = ring->mask + 1U;
  const uint32_t head = ring->head;
  const uint32_t room = capacity - (head - ring->tail);
  if (ring->dropping > 0) {
    /* One hole is told at a time: while the reader has not passed the one before, this one grows. */
    if (room < capacity / 2U || ring->hole_size > 0) {
      ring->dropping += count;
      return;
    }
    ring->hole_at = head;
    BARRIER();
    ring->hole_size = ring->dropping;
    ring->dropping = 0;
  }
  const uint32_t taken = count < room ? count : room;
  BARRIER();
  for (uint32_t index = 0; index < taken; index++) {
    ring->samples[(head + index) & ring->mask] = samples[index];
  }
  BARRIER();
  ring->head = head + taken;
  ring->dropping = count - taken;
}

uint32_t bridge_ring_readable(const bridge_ring *ring) {
  const uint32_t tail = ring->tail;
  /* The head first: a hole that is told after it lies at or behind it. */
  const uint32_t available = ring->head - tail;
  BARRIER();
  if (ring->hole_size > 0) {
    BARRIER();
    const uint32_t before_hole = ring->hole_at - tail;
    return before_hole < available ? before_hole : available;
  }
  return available;
}

bool bridge_ring_has_hole(const bridge_ring *ring) { return ring->hole_size > 0; }

uint32_t bridge_ring_read(bridge_ring *ring, int16_t *samples, uint32_t count) {
  const uint32_t readable = bridge_ring_readable(ring);
  const uint32_t taken = count < readable ? count : readable;
  const uint32_t tail = ring->tail;
  BARRIER();
  for (uint32_t index = 0; index < taken; index++) {
    samples[index] = ring->samples[(tail + index) & ring->mask];
  }
  BARRIER();
  ring->tail = tail + taken;
  return taken;
}

uint32_t bridge_ring_pass_hole(bridge_ring *ring) {
  const uint32_t size = ring->hole_size;
  BARRIER();
  if (size == 0 || ring->hole_at != ring->tail) {
    return 0;
  }
  ring->hole_size = 0;
  return size;
}
