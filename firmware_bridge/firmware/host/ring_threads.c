/* The ring between two threads: a writer that does not wait, as an interrupt does not, and a reader that is late now and
 * then. Every sample is read or told as lost, in its place. `ring_threads SAMPLES` */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include "bridge/ring.h"

#define RING_SAMPLES 256U
#define LONGEST_WRITE 97U
#define LONGEST_READ 61U
#define SLOW_EVERY 64U

static int16_t samples[RING_SAMPLES];
static bridge_ring ring;
static uint32_t total;

static uint32_t next_random(uint32_t *state) {
  *state = *state * 1664525U + 1013904223U;
  return *state >> 16;
}

static int16_t sample_at(uint32_t position) { return (int16_t)((int32_t)(position % 65521U) - 32760); }

static void *write_all(void *unused) {
  uint32_t state = 1;
  int16_t block[LONGEST_WRITE];
  for (uint32_t position = 0; position < total;) {
    uint32_t count = 1U + next_random(&state) % LONGEST_WRITE;
    count = count < total - position ? count : total - position;
    for (uint32_t index = 0; index < count; index++) {
      block[index] = sample_at(position + index);
    }
    bridge_ring_write(&ring, block, count);
    position += count;
    /* Also on one core each of the two comes between the other's steps. */
    if (next_random(&state) % 4U == 0) {
      (void)sched_yield();
    }
  }
  return unused;
}

int main(int count, char **words) {
  pthread_t writer;
  uint32_t state = 2;
  uint32_t position = 0;
  uint32_t lost = 0;
  uint32_t holes = 0;
  int16_t block[LONGEST_READ];
  total = count == 2 ? (uint32_t)strtoul(words[1], NULL, 10) : 0;
  if (total == 0 || !bridge_ring_init(&ring, samples, RING_SAMPLES) ||
      pthread_create(&writer, NULL, write_all, NULL) != 0) {
    (void)fprintf(stderr, "usage: ring_threads SAMPLES\n");
    return 2;
  }
  /* A hole at the very end is told by a write after it, which never comes: up to there all is accounted for. */
  for (uint32_t idle = 0; position < total && idle < 1000000U;) {
    const uint32_t wanted = 1U + next_random(&state) % LONGEST_READ;
    const uint32_t taken = bridge_ring_read(&ring, block, wanted);
    for (uint32_t index = 0; index < taken; index++) {
      if (block[index] != sample_at(position + index)) {
        (void)printf("sample %lu is another\n", (unsigned long)position + index);
        return 1;
      }
    }
    position += taken;
    const uint32_t hole = taken == 0 ? bridge_ring_pass_hole(&ring) : 0;
    position += hole;
    lost += hole;
    holes += hole > 0 ? 1U : 0;
    idle = taken == 0 && hole == 0 ? idle + 1U : 0;
    if (taken == 0 || next_random(&state) % SLOW_EVERY == 0) {
      (void)sched_yield();
    }
  }
  (void)pthread_join(writer, NULL);
  (void)printf("accounted=%lu lost=%lu holes=%lu untold=%lu\n", (unsigned long)position, (unsigned long)lost,
               (unsigned long)holes, (unsigned long)ring.dropping);
  return position + ring.dropping == total ? 0 : 1;
}
