#include "bridge/adpcm.h"
#include "bridge/bytes.h"
#include "bridge/frame.h"

static void decode_block(const uint8_t *block, uint16_t count, uint8_t channels, int16_t *samples) {
  bridge_adpcm state = {.predictor = bridge_signed16(bridge_get16(block)), .index = block[2]};
  const uint8_t *codes = block + BRIDGE_BLOCK_HEAD_BYTES;
  for (size_t index = 0; index < count; index++) {
    const uint8_t pair = codes[index / 2U];
    samples[index * channels] = bridge_adpcm_decode(&state, index % 2U == 0 ? pair : (uint8_t)(pair >> 4));
  }
}

void bridge_audio_samples(const bridge_audio *audio, int16_t *samples) {
  const uint8_t *payload = audio->payload.bytes;
  if (audio->codec == BRIDGE_PCM) {
    for (size_t index = 0; index < (size_t)audio->samples * audio->channels; index++) {
      samples[index] = bridge_signed16(bridge_get16(payload + 2 * index));
    }
    return;
  }
  const size_t block = bridge_payload_bytes(BRIDGE_ADPCM, 1, audio->samples);
  for (uint8_t channel = 0; channel < audio->channels; channel++) {
    decode_block(payload + channel * block, audio->samples, audio->channels, samples + channel);
  }
}
