/* Frames as packets of a link: with a CRC-32 in COBS over a byte stream, with a CRC-32 or with a tag in a datagram. */
#ifndef BRIDGE_PACKET_H
#define BRIDGE_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bridge/cobs.h"
#include "bridge/frame.h"
#include "bridge/sha256.h"

#ifdef __cplusplus
extern "C" {
#endif

#define BRIDGE_CRC_BYTES 4U
#define BRIDGE_KEY_BYTES 32U
#define BRIDGE_TAG_BYTES 16U
#define BRIDGE_TRAILER_BYTES (8U + 4U + BRIDGE_TAG_BYTES)
#define BRIDGE_DATAGRAM_BYTES (BRIDGE_FRAME_BYTES + BRIDGE_TRAILER_BYTES) /* the longest datagram */

/* Which way an authenticated datagram goes; the tag covers it, so that none can be sent back to its sender. */
typedef enum { BRIDGE_UP = 0x55, BRIDGE_DOWN = 0x44 } bridge_direction;

/* Writes the CRC of the frame of `count` bytes behind it: `bytes` has room for 4 more. Returns the packet's bytes. */
size_t bridge_add_crc(uint8_t *bytes, size_t count);

/* The bytes of the frame in a packet of `count` bytes, or 0 where its length or its CRC is wrong. */
size_t bridge_check_crc(const uint8_t *bytes, size_t count);

/* Puts a frame on a byte stream: with its CRC, in COBS, with the zero that ends it. `bytes` has room for 4 more. */
void bridge_stream_write(uint8_t *bytes, size_t count, bridge_put put, void *context);

/* Writes session, counter and tag behind the frame: `bytes` has room for 28 more. Returns the datagram's bytes. */
size_t bridge_seal(const bridge_hmac_key *key, bridge_direction direction, uint64_t session, uint32_t counter,
                   uint8_t *bytes, size_t count);

/* The bytes of the frame in an authenticated datagram, or 0 where its length or tag is wrong; then nothing else is set. */
size_t bridge_unseal(const bridge_hmac_key *key, bridge_direction direction, const uint8_t *bytes, size_t count,
                     uint64_t *session, uint32_t *counter);

/* Which counters of a session were seen: the highest, and 63 below it. All zero for a new session. */
typedef struct {
  uint32_t highest;
  uint64_t seen; /* bit n: the counter `highest - n` */
} bridge_replay_window;

/* Whether `counter` is new; it is then remembered. 0, what was seen, and what is too old to know are not. */
bool bridge_replay_take(bridge_replay_window *window, uint32_t counter);

#ifdef __cplusplus
}
#endif

#endif
