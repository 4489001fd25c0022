/* Any bytes as a frame: what is read is written again as it came, and its samples and texts are all there. */
#include <stdlib.h>
#include <string.h>

#include "bridge/frame.h"

static void expect(bool holds) {
  if (!holds) {
    abort();
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
  static uint8_t again[BRIDGE_FRAME_BYTES];
  static int16_t samples[2 * BRIDGE_AUDIO_SAMPLES];
  bridge_frame frame;
  if (bridge_frame_read(bytes, count, &frame) != BRIDGE_READ) {
    return 0;
  }
  expect(bridge_frame_write(&frame, again, sizeof again) == count);
  expect(memcmp(again, bytes, count) == 0);
  expect(bridge_frame_write(&frame, again, count - 1U) == 0);
  if (frame.type == BRIDGE_AUDIO) {
    bridge_audio_samples(&frame.body.audio, samples);
  }
  if (frame.type == BRIDGE_CAPTION) {
    const bridge_bytes text = frame.body.caption.text;
    for (size_t limit = 0; limit <= text.count; limit++) {
      expect(bridge_is_utf8(text.bytes, bridge_whole_characters(text.bytes, text.count, limit)));
    }
  }
  return 0;
}
