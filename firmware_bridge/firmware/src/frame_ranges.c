#include "bridge/adpcm.h"
#include "frame_bodies.h"

#define LOWEST_RATE_HZ 8000U
#define HIGHEST_RATE_HZ 48000U
#define ALL_ABILITIES (BRIDGE_SHOWS_CAPTIONS | BRIDGE_PLAYS_ALERTS | BRIDGE_GATES)

size_t bridge_payload_bytes(uint8_t codec, uint8_t channels, uint16_t samples) {
  const size_t channel =
      codec == BRIDGE_PCM ? (size_t)2 * samples : BRIDGE_BLOCK_HEAD_BYTES + ((size_t)samples + 1U) / 2U;
  return channel * channels;
}

static bool is_format(uint8_t codec, uint8_t channels, uint16_t samples) {
  return (codec == BRIDGE_PCM || codec == BRIDGE_ADPCM) && (channels == 1U || channels == 2U) && samples > 0 &&
         samples <= BRIDGE_AUDIO_SAMPLES;
}

static bool is_name(bridge_bytes name) {
  return name.count <= BRIDGE_NAME_BYTES && bridge_is_utf8(name.bytes, name.count);
}

static bool hello_in_range(const bridge_hello *hello) {
  return hello->rate_hz >= LOWEST_RATE_HZ && hello->rate_hz <= HIGHEST_RATE_HZ &&
         is_format(hello->codec, hello->channels, hello->frame_samples) && hello->abilities <= ALL_ABILITIES &&
         hello->caption_bytes <= BRIDGE_TEXT_BYTES && is_name(hello->name) && is_name(hello->firmware);
}

/* A block of ADPCM whose length is right: its state is one that a decoder can have, and what is not used is zero. */
static bool is_block(const uint8_t *block, size_t bytes, uint16_t samples) {
  const bool padded = samples % 2U == 1U;
  return block[2] <= BRIDGE_ADPCM_LAST_INDEX && block[3] == 0 && (!padded || block[bytes - 1U] <= 0x0FU);
}

static bool audio_in_range(const bridge_audio *audio) {
  if (!is_format(audio->codec, audio->channels, audio->samples) ||
      audio->payload.count != bridge_payload_bytes(audio->codec, audio->channels, audio->samples)) {
    return false;
  }
  const size_t block = bridge_payload_bytes(BRIDGE_ADPCM, 1, audio->samples);
  return audio->codec == BRIDGE_PCM ||
         (is_block(audio->payload.bytes, block, audio->samples) &&
          (audio->channels == 1U || is_block(audio->payload.bytes + block, block, audio->samples)));
}

static bool caption_in_range(const bridge_caption *caption) {
  return caption->id > 0 && caption->priority <= BRIDGE_URGENT && caption->text.count > 0 &&
         caption->text.count <= BRIDGE_TEXT_BYTES && bridge_is_utf8(caption->text.bytes, caption->text.count);
}

static bool alert_in_range(const bridge_alert *alert) {
  return alert->id > 0 && alert->pattern <= BRIDGE_IN_TURNS && alert->priority <= BRIDGE_URGENT;
}

static bool ack_in_range(const bridge_ack *ack) {
  if (ack->of_type == BRIDGE_HELLO) {
    return ack->result == BRIDGE_HELLO_WANTED && ack->id == 0;
  }
  return (ack->of_type == BRIDGE_CAPTION || ack->of_type == BRIDGE_ALERT) && ack->result <= BRIDGE_BUSY && ack->id > 0;
}

bool bridge_frame_in_range(const bridge_frame *frame) {
  switch (frame->type) {
    case BRIDGE_HELLO:
      return hello_in_range(&frame->body.hello);
    case BRIDGE_AUDIO:
      return audio_in_range(&frame->body.audio);
    case BRIDGE_CAPTION:
      return caption_in_range(&frame->body.caption);
    case BRIDGE_ALERT:
      return alert_in_range(&frame->body.alert);
    case BRIDGE_ACK:
      return ack_in_range(&frame->body.ack);
    default: /* STATUS and TIME take any number */
      return frame->type == BRIDGE_STATUS || frame->type == BRIDGE_TIME;
  }
}
