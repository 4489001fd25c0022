/* From the ring to AUDIO bodies: cuts frames, encodes them where they will be sent from, leaves out what the gate keeps
 * back (but for a frame each second, which tells the host that the device is there), and keeps the sample clock to the
 * sample, holes included. */
#ifndef BRIDGE_MICROPHONE_H
#define BRIDGE_MICROPHONE_H

#include <stdbool.h>
#include <stdint.h>

#include "bridge/adpcm.h"
#include "bridge/frame.h"
#include "bridge/gate.h"
#include "bridge/ring.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
  uint32_t rate_hz;
  uint8_t channels; /* 1 or 2, interleaved in the ring */
  uint8_t codec;    /* bridge_codec */
  uint16_t frame_samples;
  const bridge_gate_settings *gate; /* NULL: everything is sent */
  /* Sound that is sent when the gate opens: the frame that opened it and those before it, `before_frames` payloads of
   * bridge_payload_bytes(codec, channels, frame_samples) bytes each, at least 2 of them. NULL and 0: that frame alone. */
  uint8_t *before;
  uint8_t before_frames;
} bridge_microphone_settings;

typedef struct {
  bridge_microphone_settings settings;
  bridge_ring *ring;
  uint64_t position;        /* on the sample clock: of the next sample that comes out of the ring */
  uint32_t sequence;        /* of the next frame */
  uint32_t gated_samples;   /* left out since the start */
  uint32_t overrun_samples; /* lost since the start, or taken while nobody listened */
  bridge_adpcm adpcm[2];
  bridge_blocker blockers[2];
  bridge_gate gate;
  uint64_t squares;       /* of the last second */
  uint32_t square_count;  /* values in it */
  uint8_t level_below_fs_db;
  uint8_t before_first; /* oldest frame in `before` */
  uint8_t before_count; /* frames in it */
  uint32_t silent_samples; /* since the last frame that was sent: one goes out each second though the gate is closed */
  bool flushing;        /* what is in the ring is sent, though it fills no frame */
  bool opening;         /* they are being sent, the frame that opened the gate the last of them */
} bridge_microphone;

/* False where a setting is out of its range. `settings` is copied, what it points to is not. */
bool bridge_microphone_init(bridge_microphone *microphone, const bridge_microphone_settings *settings, bridge_ring *ring);

/* Makes the next AUDIO frame's body, if there is one; its payload is written to `payload`, which has room for
 * bridge_payload_bytes of a whole frame. Called until it says false, as often as the ring needs it. */
bool bridge_microphone_next(bridge_microphone *microphone, uint8_t *payload, bridge_audio *audio);

/* Has the next frames take all that is in the ring, the last of them shorter: the microphone pauses. */
void bridge_microphone_flush(bridge_microphone *microphone);

/* Takes what is in the ring and sends it nowhere: nobody listens. Counted as lost. */
void bridge_microphone_discard(bridge_microphone *microphone);

#ifdef __cplusplus
}
#endif

#endif
