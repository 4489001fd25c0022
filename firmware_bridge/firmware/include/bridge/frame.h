/* The frames that devices and the host exchange (docs/firmware_bridge.md, version 1), as values and as bytes.
 *
 * Pure functions: no input or output, no state, no memory besides what the caller gives. Both directions are here, though a
 * device needs but one of each, so that hosts and tests can be written in C; what is not called is not linked. */
#ifndef BRIDGE_FRAME_H
#define BRIDGE_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BRIDGE_VERSION 1U
#define BRIDGE_HEADER_BYTES 10U
#define BRIDGE_FRAME_BYTES 1024U /* the longest frame */
#define BRIDGE_TEXT_BYTES 240U   /* the longest text of a caption */
#define BRIDGE_NAME_BYTES 32U    /* the longest name, and the longest firmware version */
#define BRIDGE_AUDIO_SAMPLES 1000U
#define BRIDGE_AUDIO_HEAD_BYTES 20U /* of an AUDIO body, before its payload */
#define BRIDGE_CAPTION_HEAD_BYTES 8U
#define BRIDGE_BLOCK_HEAD_BYTES 4U /* of a block of ADPCM, before its codes */

typedef enum {
  BRIDGE_HELLO = 1,
  BRIDGE_AUDIO = 2,
  BRIDGE_STATUS = 3,
  BRIDGE_CAPTION = 4,
  BRIDGE_ALERT = 5,
  BRIDGE_TIME = 6,
  BRIDGE_ACK = 7
} bridge_type;

typedef enum { BRIDGE_PCM = 0, BRIDGE_ADPCM = 1 } bridge_codec;

/* Bits of `abilities`. */
#define BRIDGE_SHOWS_CAPTIONS 1U
#define BRIDGE_PLAYS_ALERTS 2U
#define BRIDGE_GATES 4U

typedef enum { BRIDGE_LOW = 0, BRIDGE_NORMAL = 1, BRIDGE_IMPORTANT = 2, BRIDGE_URGENT = 3 } bridge_priority;

typedef enum {
  BRIDGE_STOP = 0,
  BRIDGE_ONE_SHORT = 1,
  BRIDGE_TWO_SHORT = 2,
  BRIDGE_THREE_SHORT = 3,
  BRIDGE_LONG = 4,
  BRIDGE_IN_TURNS = 5
} bridge_pattern;

typedef enum { BRIDGE_DONE = 0, BRIDGE_CANNOT = 1, BRIDGE_BUSY = 2, BRIDGE_HELLO_WANTED = 3 } bridge_ack_result;

#define BRIDGE_UNKNOWN_TEMPERATURE INT16_MIN
#define BRIDGE_UNKNOWN_LEVEL 255U

/* Bytes that stay where they are: those of a frame that was read, or the caller's. */
typedef struct {
  const uint8_t *bytes;
  uint16_t count;
} bridge_bytes;

typedef struct {
  uint32_t boot;
  uint32_t number;
  uint32_t rate_hz;
  uint8_t channels;
  uint8_t codec;
  uint16_t frame_samples;
  uint8_t abilities;
  uint8_t caption_bytes;
  bridge_bytes name;
  bridge_bytes firmware;
} bridge_hello;

typedef struct {
  uint32_t sequence;
  uint64_t first_sample;
  uint32_t gated_samples;
  uint8_t codec;
  uint8_t channels;
  uint16_t samples;
  bridge_bytes payload;
} bridge_audio;

typedef struct {
  uint32_t uptime_s;
  uint32_t overrun_samples;
  uint32_t frames_sent;
  uint32_t frames_refused;
  uint32_t captions_shown;
  int16_t temperature_cdeg;
  uint16_t battery_mv;
  int8_t rssi_dbm;
  uint8_t level_below_fs_db;
} bridge_status;

typedef struct {
  uint16_t id;
  uint8_t priority;
  uint16_t show_s;
  bridge_bytes text;
} bridge_caption;

typedef struct {
  uint16_t id;
  uint8_t pattern;
  uint8_t priority;
  uint16_t seconds;
} bridge_alert;

typedef struct {
  uint32_t boot;
  uint32_t number;
  uint64_t session;
  uint64_t unix_ms;
} bridge_time;

typedef struct {
  uint8_t of_type;
  uint8_t result;
  uint16_t id;
} bridge_ack;

typedef struct {
  uint8_t type; /* bridge_type: says which of the bodies is meant */
  uint64_t device;
  union {
    bridge_hello hello;
    bridge_audio audio;
    bridge_status status;
    bridge_caption caption;
    bridge_alert alert;
    bridge_time time;
    bridge_ack ack;
  } body;
} bridge_frame;

typedef enum {
  BRIDGE_READ,    /* it is a frame of the format */
  BRIDGE_UNKNOWN, /* it is of a type that version 1 does not have: ignored and counted */
  BRIDGE_REFUSED  /* it is no frame of version 1 */
} bridge_reading;

/* Bytes of an AUDIO frame's payload with `samples` samples a channel. */
size_t bridge_payload_bytes(uint8_t codec, uint8_t channels, uint16_t samples);

/* Reads a frame. What `frame` points to afterwards is in `bytes`. */
bridge_reading bridge_frame_read(const uint8_t *bytes, size_t count, bridge_frame *frame);

/* Writes a frame; returns its bytes, or 0 where a field is out of its range or `capacity` is too small. The payload of an
 * AUDIO frame may lie already where it belongs in `bytes`, at BRIDGE_HEADER_BYTES + BRIDGE_AUDIO_HEAD_BYTES. */
size_t bridge_frame_write(const bridge_frame *frame, uint8_t *bytes, size_t capacity);

/* The samples of an AUDIO frame that was read, channels interleaved: audio->samples * audio->channels of them. */
void bridge_audio_samples(const bridge_audio *audio, int16_t *samples);

/* How many of the first `count` bytes make whole characters of UTF-8, at most `limit`. For a display that cuts. */
size_t bridge_whole_characters(const uint8_t *text, size_t count, size_t limit);

/* Whether the bytes are UTF-8 as RFC 3629 has it: no surrogate, nothing written longer than need be. */
bool bridge_is_utf8(const uint8_t *text, size_t count);

#ifdef __cplusplus
}
#endif

#endif
