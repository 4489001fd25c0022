#include "bridge/packet.h"

#include <string.h>

#include "bridge/bytes.h"
#include "bridge/crc32.h"

#define WINDOW_BITS 64U

size_t bridge_add_crc(uint8_t *bytes, size_t count) {
  bridge_put32(bytes + count, bridge_crc32(0, bytes, count));
  return count + BRIDGE_CRC_BYTES;
}

size_t bridge_check_crc(const uint8_t *bytes, size_t count) {
  if (count < BRIDGE_HEADER_BYTES + BRIDGE_CRC_BYTES || count > BRIDGE_FRAME_BYTES + BRIDGE_CRC_BYTES) {
    return 0;
  }
  count -= BRIDGE_CRC_BYTES;
  return bridge_crc32(0, bytes, count) == bridge_get32(bytes + count) ? count : 0;
}

void bridge_stream_write(uint8_t *bytes, size_t count, bridge_put put, void *context) {
  bridge_cobs_encode(bytes, bridge_add_crc(bytes, count), put, context);
}

static void write_tag(const bridge_hmac_key *key, bridge_direction direction, const uint8_t *bytes, size_t count,
                      uint8_t digest[BRIDGE_SHA256_BYTES]) {
  const uint8_t way = (uint8_t)direction;
  bridge_hmac(key, &way, 1, bytes, count, digest);
}

size_t bridge_seal(const bridge_hmac_key *key, bridge_direction direction, uint64_t session, uint32_t counter,
                   uint8_t *bytes, size_t count) {
  uint8_t digest[BRIDGE_SHA256_BYTES];
  bridge_put64(bytes + count, session);
  bridge_put32(bytes + count + 8, counter);
  count += BRIDGE_TRAILER_BYTES - BRIDGE_TAG_BYTES;
  write_tag(key, direction, bytes, count, digest);
  memcpy(bytes + count, digest, BRIDGE_TAG_BYTES);
  return count + BRIDGE_TAG_BYTES;
}

size_t bridge_unseal(const bridge_hmac_key *key, bridge_direction direction, const uint8_t *bytes, size_t count,
                     uint64_t *session, uint32_t *counter) {
  uint8_t digest[BRIDGE_SHA256_BYTES];
  if (count < BRIDGE_HEADER_BYTES + BRIDGE_TRAILER_BYTES || count > BRIDGE_DATAGRAM_BYTES) {
    return 0;
  }
  const size_t covered = count - BRIDGE_TAG_BYTES;
  write_tag(key, direction, bytes, covered, digest);
  if (!bridge_same_bytes(digest, bytes + covered, BRIDGE_TAG_BYTES)) {
    return 0;
  }
  const size_t frame = count - BRIDGE_TRAILER_BYTES;
  *session = bridge_get64(bytes + frame);
  *counter = bridge_get32(bytes + frame + 8);
  return frame;
}

bool bridge_replay_take(bridge_replay_window *window, uint32_t counter) {
  if (counter == 0) {
    return false;
  }
  if (counter > window->highest) {
    const uint32_t ahead = counter - window->highest;
    window->seen = ahead < WINDOW_BITS ? (window->seen << ahead) | 1U : 1U;
    window->highest = counter;
    return true;
  }
  const uint32_t behind = window->highest - counter;
  if (behind >= WINDOW_BITS || ((window->seen >> behind) & 1U) != 0) {
    return false;
  }
  window->seen |= (uint64_t)1 << behind;
  return true;
}
