/* Counts what the C library of firmware_bridge does with sound and frames, each with one amount and with four times it. */
#include <stdio.h>
#include <string.h>
#include <valgrind/callgrind.h>

#include "bridge/adpcm.h"
#include "bridge/cobs.h"
#include "bridge/crc32.h"
#include "bridge/frame.h"
#include "bridge/gate.h"
#include "bridge/ring.h"
#include "bridge/sha256.h"

#define ONCE 1024U
#define MOST (4U * ONCE)
#define CAPACITY 8192U

static int16_t samples[MOST], again[MOST], held[CAPACITY];
static uint8_t bytes[MOST], codes[MOST];
static uint8_t packed[2 * MOST];
static size_t packed_count;
static volatile uint32_t kept; /* what is computed is needed, so that no compiler leaves it out */

static void pack(void *context, const uint8_t *more, size_t count) {
  (void)context;
  memcpy(packed + packed_count, more, count);
  packed_count += count;
}

static void sum(size_t count) { kept = bridge_crc32(0, bytes, count); }

static void hash(size_t count) {
  bridge_sha256 hash;
  uint8_t digest[BRIDGE_SHA256_BYTES];
  bridge_sha256_init(&hash);
  bridge_sha256_update(&hash, bytes, count);
  bridge_sha256_final(&hash, digest);
  kept = digest[0];
}

static void encode_cobs(size_t count) {
  packed_count = 0;
  bridge_cobs_encode(bytes, count, pack, NULL);
}

static void decode_cobs(size_t count) {
  bridge_cobs_decoder decoder;
  uint32_t frames = 0;
  bridge_cobs_decoder_init(&decoder, codes, sizeof codes);
  for (size_t index = 0; index < count; index++) {
    frames += bridge_cobs_decode(&decoder, packed[index]) == BRIDGE_COBS_FRAME ? 1U : 0U;
  }
  kept = frames;
}

static void encode_adpcm(size_t count) {
  bridge_adpcm state = {0};
  bridge_adpcm_encode_block(&state, samples, count, codes);
}

static void decode_adpcm(size_t count) {
  bridge_adpcm state = {0};
  bridge_adpcm_decode_block(&state, codes, count, again);
}

static void add_squares(size_t count) {
  bridge_blocker blocker = {0};
  kept = (uint32_t)bridge_sum_of_squares(&blocker, samples, count, 1);
}

static void pass_ring(size_t count) {
  bridge_ring ring;
  if (bridge_ring_init(&ring, held, CAPACITY)) {
    bridge_ring_write(&ring, samples, (uint32_t)count);
    kept = bridge_ring_read(&ring, again, (uint32_t)count);
  }
}

static void check_text(size_t count) { kept = bridge_is_utf8((const uint8_t *)samples, count) ? 1U : 0U; }

static void count_loop(const char *name, void (*loop)(size_t), size_t count) {
  char told[64];
  (void)snprintf(told, sizeof told, "bridge %s %zu", name, count);
  loop(count);
  CALLGRIND_ZERO_STATS;
  loop(count);
  CALLGRIND_DUMP_STATS_AT(told);
}

static void count_both(const char *name, void (*loop)(size_t)) {
  count_loop(name, loop, ONCE);
  count_loop(name, loop, MOST);
}

int main(void) {
  uint32_t random = 1;
  for (size_t index = 0; index < MOST; index++) {
    random = random * 1664525U + 1013904223U;
    bytes[index] = (uint8_t)(random >> 24);
    samples[index] = (int16_t)((int32_t)(random >> 18) - 8192);
  }
  count_both("crc32", sum);
  count_both("sha256", hash);
  count_both("cobs_encode", encode_cobs);
  count_both("cobs_decode", decode_cobs);
  count_both("adpcm_encode", encode_adpcm);
  count_both("adpcm_decode", decode_adpcm);
  count_both("squares", add_squares);
  count_both("ring", pass_ring);
  memset(samples, 'a', sizeof samples);
  count_both("utf8", check_text);
  return 0;
}
