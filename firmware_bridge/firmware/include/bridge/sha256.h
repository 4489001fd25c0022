/* SHA-256 (FIPS 180-4) and HMAC-SHA-256 (RFC 2104). */
#ifndef BRIDGE_SHA256_H
#define BRIDGE_SHA256_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BRIDGE_SHA256_BYTES 32U
#define BRIDGE_SHA256_BLOCK 64U

typedef struct {
  uint32_t state[8];
  uint64_t count; /* bytes taken */
  uint8_t block[BRIDGE_SHA256_BLOCK];
} bridge_sha256;

void bridge_sha256_init(bridge_sha256 *hash);
void bridge_sha256_update(bridge_sha256 *hash, const uint8_t *bytes, size_t count);
void bridge_sha256_final(bridge_sha256 *hash, uint8_t digest[BRIDGE_SHA256_BYTES]);

/* A key made ready: the hash after the inner and after the outer block, so that a frame costs two blocks less. */
typedef struct {
  uint32_t inner[8];
  uint32_t outer[8];
} bridge_hmac_key;

/* Makes `key` of `count` bytes ready. A key of more than 64 bytes is hashed first, as RFC 2104 has it. */
void bridge_hmac_key_init(bridge_hmac_key *ready, const uint8_t *key, size_t count);

/* The code of the message that is `first` with `second` after it; `second` may be NULL where its count is 0. */
void bridge_hmac(const bridge_hmac_key *ready, const uint8_t *first, size_t first_count, const uint8_t *second,
                 size_t second_count, uint8_t digest[BRIDGE_SHA256_BYTES]);

/* Whether two codes are the same, in a time that does not tell where they differ. */
bool bridge_same_bytes(const uint8_t *first, const uint8_t *second, size_t count);

#ifdef __cplusplus
}
#endif

#endif
