/* A device on a link: says HELLO until a host answers, streams its microphone, shows captions, plays alerts.
 *
 * The caller gives it bytes that came (bridge_device_receive) and time (bridge_device_poll), both from one loop, and the
 * functions of its settings take bytes to the link and captions to the display. */
#ifndef BRIDGE_DEVICE_H
#define BRIDGE_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bridge/cobs.h"
#include "bridge/frame.h"
#include "bridge/microphone.h"
#include "bridge/packet.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
  BRIDGE_STREAM, /* a byte stream: USB serial, UART */
  BRIDGE_PLAIN,  /* datagrams that anyone can forge: only for trying */
  BRIDGE_SEALED  /* authenticated datagrams */
} bridge_link;

typedef struct {
  uint64_t device; /* the id, not 0: a MAC address does */
  uint32_t boot;   /* chosen at random at each start; from a hardware generator, or from noise of an ADC */
  const char *name;
  const char *firmware;
  bridge_link link;
  const uint8_t *key; /* BRIDGE_KEY_BYTES, for BRIDGE_SEALED; read during init only */

  /* Room to put frames together: BRIDGE_HEADER_BYTES + BRIDGE_AUDIO_HEAD_BYTES + the payload + BRIDGE_TRAILER_BYTES (on
   * other links BRIDGE_CRC_BYTES), and BRIDGE_HELLO_ROOM at least. */
  uint8_t *out;
  size_t out_bytes;
  /* For BRIDGE_STREAM: room for the longest frame that comes in, BRIDGE_INPUT_ROOM(caption_bytes). */
  uint8_t *in;
  size_t in_bytes;

  uint8_t caption_bytes; /* the longest text that `show` takes, up to 240 */

  /* Takes a whole datagram, or bytes of the stream; returns when it needs them no more. May wait: sound is kept by the
   * ring meanwhile. */
  bridge_put put;
  /* Shows a caption; NULL where there is no display. The text ends where its count says, and is gone after the call. */
  bridge_ack_result (*show)(void *context, const bridge_caption *caption);
  /* Plays a pattern; NULL where there is nothing to play it with. */
  bridge_ack_result (*play)(void *context, const bridge_alert *alert);
  /* Learns the time of day; may be NULL. Called only where the host knows it. */
  void (*set_time)(void *context, uint64_t unix_ms);
  /* Adds temperature, battery and radio to a STATUS; may be NULL. */
  void (*describe)(void *context, bridge_status *status);
  void *context; /* given to the functions above */
} bridge_device_settings;

#define BRIDGE_HELLO_ROOM (BRIDGE_HEADER_BYTES + 22U + 2U * BRIDGE_NAME_BYTES + BRIDGE_TRAILER_BYTES)
#define BRIDGE_INPUT_ROOM(caption_bytes) \
  (BRIDGE_HEADER_BYTES + ((caption_bytes) > 16U ? BRIDGE_CAPTION_HEAD_BYTES + (caption_bytes) : 24U) + BRIDGE_CRC_BYTES)
#define BRIDGE_REMEMBERED 8U

typedef struct {
  bridge_device_settings settings;
  bridge_microphone *microphone;
  bridge_cobs_decoder decoder;
  bridge_hmac_key key;
  uint32_t boot;
  uint64_t session;
  uint32_t counter; /* of the last datagram in the session */
  bridge_replay_window window;
  bool in_session;      /* a session was given: sealed frames can be sent */
  bool linked;          /* a host answers */
  uint8_t unanswered;   /* HELLOs since the last TIME */
  uint32_t hello_number;
  uint32_t hello_at;    /* ms, of the next HELLO */
  uint32_t said_at;     /* ms, of the last HELLO */
  uint32_t status_at;   /* ms, of the next STATUS */
  uint32_t uptime_ms;   /* since the last whole second of uptime */
  uint32_t uptime_s;
  uint32_t polled_at;   /* ms */
  uint32_t frames_sent;
  uint32_t frames_refused;
  uint32_t frames_unknown;
  uint32_t captions_shown;
  uint8_t next_remembered;
  uint16_t remembered_ids[BRIDGE_REMEMBERED];
  uint8_t remembered_results[BRIDGE_REMEMBERED];
} bridge_device;

/* Begins; the first poll says HELLO. `microphone` may be NULL: a display alone. Settings are copied, what they point to is
 * not. False where a setting is out of its range or a buffer is too small. */
bool bridge_device_init(bridge_device *device, const bridge_device_settings *settings, bridge_microphone *microphone,
                        uint32_t now_ms);

/* Takes bytes of the stream, as they come, or one datagram. What is no frame for this device is counted and forgotten. */
void bridge_device_receive(bridge_device *device, const uint8_t *bytes, size_t count, uint32_t now_ms);

/* Sends what is due: HELLO, STATUS, and up to four frames of sound. `now_ms` may wrap. True where sound was left: call
 * again without waiting. */
bool bridge_device_poll(bridge_device *device, uint32_t now_ms);

#ifdef __cplusplus
}
#endif

#endif
