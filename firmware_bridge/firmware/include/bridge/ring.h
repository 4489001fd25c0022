/* Samples from the microphone's interrupt to the loop that sends them: one writer, one reader, no lock.
 *
 * Where the loop is late and the ring is full, samples are lost, and the reader gets to know how many and between which
 * two: the writer drops until half of the ring is free, so a loss is one hole and not a sieve. */
#ifndef BRIDGE_RING_H
#define BRIDGE_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
  int16_t *samples;            /* the caller's */
  uint32_t mask;               /* capacity - 1 */
  volatile uint32_t head;      /* samples written, modulo 2^32; the writer's */
  volatile uint32_t tail;      /* samples read, modulo 2^32; the reader's */
  uint32_t dropping;           /* samples dropped in the hole that is still open; the writer's */
  volatile uint32_t hole_at;   /* value of `head` at which the finished hole lies */
  volatile uint32_t hole_size; /* its samples; the writer sets it when it is 0, the reader sets it to 0 */
} bridge_ring;

/* `capacity` is a power of two, 2 to 2^30; `samples` has room for as many. False where it is none. */
bool bridge_ring_init(bridge_ring *ring, int16_t *samples, uint32_t capacity);

/* Called by the interrupt: takes `count` samples, or what there is room for. */
void bridge_ring_write(bridge_ring *ring, const int16_t *samples, uint32_t count);

/* Samples that can be read before the next hole, or all there are where there is none. */
uint32_t bridge_ring_readable(const bridge_ring *ring);

/* Reads up to `count` samples, none beyond a hole; returns how many. */
uint32_t bridge_ring_read(bridge_ring *ring, int16_t *samples, uint32_t count);

/* Whether a hole is to be read up to: what is readable lies before it, and no more will come there. */
bool bridge_ring_has_hole(const bridge_ring *ring);

/* The size of the hole that the reader stands before, which is passed with this call; 0 where it stands before none. */
uint32_t bridge_ring_pass_hole(bridge_ring *ring);

#ifdef __cplusplus
}
#endif

#endif
