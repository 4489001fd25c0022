#include "bridge/sha256.h"

#include <string.h>

/* Fractional parts of the cube roots of the first 64 primes (FIPS 180-4, 4.2.2). */
static const uint32_t K[64] = {
    0x428A2F98U, 0x71374491U, 0xB5C0FBCFU, 0xE9B5DBA5U, 0x3956C25BU, 0x59F111F1U, 0x923F82A4U, 0xAB1C5ED5U,
    0xD807AA98U, 0x12835B01U, 0x243185BEU, 0x550C7DC3U, 0x72BE5D74U, 0x80DEB1FEU, 0x9BDC06A7U, 0xC19BF174U,
    0xE49B69C1U, 0xEFBE4786U, 0x0FC19DC6U, 0x240CA1CCU, 0x2DE92C6FU, 0x4A7484AAU, 0x5CB0A9DCU, 0x76F988DAU,
    0x983E5152U, 0xA831C66DU, 0xB00327C8U, 0xBF597FC7U, 0xC6E00BF3U, 0xD5A79147U, 0x06CA6351U, 0x14292967U,
    0x27B70A85U, 0x2E1B2138U, 0x4D2C6DFCU, 0x53380D13U, 0x650A7354U, 0x766A0ABBU, 0x81C2C92EU, 0x92722C85U,
    0xA2BFE8A1U, 0xA81A664BU, 0xC24B8B70U, 0xC76C51A3U, 0xD192E819U, 0xD6990624U, 0xF40E3585U, 0x106AA070U,
    0x19A4C116U, 0x1E376C08U, 0x2748774CU, 0x34B0BCB5U, 0x391C0CB3U, 0x4ED8AA4AU, 0x5B9CCA4FU, 0x682E6FF3U,
    0x748F82EEU, 0x78A5636FU, 0x84C87814U, 0x8CC70208U, 0x90BEFFFAU, 0xA4506CEBU, 0xBEF9A3F7U, 0xC67178F2U,
};

/* Fractional parts of the square roots of the first 8 primes (FIPS 180-4, 5.3.3). */
static const uint32_t INITIAL[8] = {
    0x6A09E667U, 0xBB67AE85U, 0x3C6EF372U, 0xA54FF53AU, 0x510E527FU, 0x9B05688CU, 0x1F83D9ABU, 0x5BE0CD19U,
};

#define LENGTH_AT 56U /* where the length stands in the last block */

static uint32_t rotated(uint32_t word, unsigned bits) { return (word >> bits) | (word << (32U - bits)); }

static uint32_t big_endian(const uint8_t *bytes) {
  return ((uint32_t)bytes[0] << 24) | ((uint32_t)bytes[1] << 16) | ((uint32_t)bytes[2] << 8) | bytes[3];
}

/* A word of the schedule, which is kept as its last 16 words: 64 bytes of stack in place of 256. */
static uint32_t next_word(uint32_t schedule[16], unsigned round, const uint8_t *block) {
  uint32_t word = 0;
  if (round < 16U) {
    word = big_endian(block + (size_t)4 * round);
  } else {
    const uint32_t old = schedule[(round + 1U) & 15U];
    const uint32_t recent = schedule[(round + 14U) & 15U];
    word = schedule[round & 15U] + (rotated(old, 7) ^ rotated(old, 18) ^ (old >> 3)) + schedule[(round + 9U) & 15U] +
           (rotated(recent, 17) ^ rotated(recent, 19) ^ (recent >> 10));
  }
  schedule[round & 15U] = word;
  return word;
}

static void compress(uint32_t state[8], const uint8_t block[BRIDGE_SHA256_BLOCK]) {
  uint32_t schedule[16];
  uint32_t a = state[0];
  uint32_t b = state[1];
  uint32_t c = state[2];
  uint32_t d = state[3];
  uint32_t e = state[4];
  uint32_t f = state[5];
  uint32_t g = state[6];
  uint32_t h = state[7];
  for (unsigned round = 0; round < 64U; round++) {
    const uint32_t word = next_word(schedule, round, block);
    const uint32_t choice = g ^ (e & (f ^ g));
    const uint32_t majority = (a & b) | (c & (a | b));
    const uint32_t first = h + (rotated(e, 6) ^ rotated(e, 11) ^ rotated(e, 25)) + choice + K[round] + word;
    const uint32_t second = (rotated(a, 2) ^ rotated(a, 13) ^ rotated(a, 22)) + majority;
    h = g;
    g = f;
    f = e;
    e = d + first;
    d = c;
    c = b;
    b = a;
    a = first + second;
  }
  state[0] += a;
  state[1] += b;
  state[2] += c;
  state[3] += d;
  state[4] += e;
  state[5] += f;
  state[6] += g;
  state[7] += h;
}

void bridge_sha256_init(bridge_sha256 *hash) {
  memcpy(hash->state, INITIAL, sizeof hash->state);
  hash->count = 0;
}

void bridge_sha256_update(bridge_sha256 *hash, const uint8_t *bytes, size_t count) {
  size_t used = (size_t)(hash->count % BRIDGE_SHA256_BLOCK);
  hash->count += count;
  while (count > 0) {
    size_t taken = BRIDGE_SHA256_BLOCK - used;
    if (taken > count) {
      taken = count;
    }
    memcpy(hash->block + used, bytes, taken);
    bytes += taken;
    count -= taken;
    used += taken;
    if (used == BRIDGE_SHA256_BLOCK) {
      compress(hash->state, hash->block);
      used = 0;
    }
  }
}

void bridge_sha256_final(bridge_sha256 *hash, uint8_t digest[BRIDGE_SHA256_BYTES]) {
  const uint64_t bits = hash->count * 8U;
  size_t used = (size_t)(hash->count % BRIDGE_SHA256_BLOCK);
  hash->block[used] = 0x80;
  used++;
  if (used > LENGTH_AT) {
    memset(hash->block + used, 0, BRIDGE_SHA256_BLOCK - used);
    compress(hash->state, hash->block);
    used = 0;
  }
  memset(hash->block + used, 0, LENGTH_AT - used);
  for (unsigned index = 0; index < 8U; index++) {
    hash->block[LENGTH_AT + index] = (uint8_t)(bits >> (56U - 8U * index));
  }
  compress(hash->state, hash->block);
  for (unsigned index = 0; index < BRIDGE_SHA256_BYTES; index++) {
    digest[index] = (uint8_t)(hash->state[index / 4U] >> (24U - 8U * (index % 4U)));
  }
}

static void keyed(uint32_t state[8], const uint8_t *key, size_t count, uint8_t padding) {
  uint8_t block[BRIDGE_SHA256_BLOCK];
  memset(block, padding, sizeof block);
  for (size_t index = 0; index < count; index++) {
    block[index] ^= key[index];
  }
  memcpy(state, INITIAL, sizeof INITIAL);
  compress(state, block);
}

void bridge_hmac_key_init(bridge_hmac_key *ready, const uint8_t *key, size_t count) {
  uint8_t digest[BRIDGE_SHA256_BYTES];
  if (count > BRIDGE_SHA256_BLOCK) {
    bridge_sha256 hash;
    bridge_sha256_init(&hash);
    bridge_sha256_update(&hash, key, count);
    bridge_sha256_final(&hash, digest);
    key = digest;
    count = sizeof digest;
  }
  keyed(ready->inner, key, count, 0x36);
  keyed(ready->outer, key, count, 0x5C);
}

void bridge_hmac(const bridge_hmac_key *ready, const uint8_t *first, size_t first_count, const uint8_t *second,
                 size_t second_count, uint8_t digest[BRIDGE_SHA256_BYTES]) {
  bridge_sha256 hash;
  memcpy(hash.state, ready->inner, sizeof hash.state);
  hash.count = BRIDGE_SHA256_BLOCK;
  bridge_sha256_update(&hash, first, first_count);
  if (second_count > 0) {
    bridge_sha256_update(&hash, second, second_count);
  }
  bridge_sha256_final(&hash, digest);
  memcpy(hash.state, ready->outer, sizeof hash.state);
  hash.count = BRIDGE_SHA256_BLOCK;
  bridge_sha256_update(&hash, digest, BRIDGE_SHA256_BYTES);
  bridge_sha256_final(&hash, digest);
}

bool bridge_same_bytes(const uint8_t *first, const uint8_t *second, size_t count) {
  uint8_t difference = 0;
  for (size_t index = 0; index < count; index++) {
    difference = (uint8_t)(difference | (first[index] ^ second[index]));
  }
  return difference == 0;
}
