#include "bridge/microphone.h"

#include <string.h>

#include "bridge/bytes.h"

/* Values that are taken from the ring at once: 64 bytes of stack. */
#define PIECE 32U
#define LOWEST_RATIO_DB 3U
#define HIGHEST_RATIO_DB 30U

static bool is_gate(const bridge_gate_settings *gate) {
  return gate == NULL || (gate->above_db >= LOWEST_RATIO_DB && gate->above_db <= HIGHEST_RATIO_DB);
}

static size_t slot_bytes(const bridge_microphone *microphone) {
  return bridge_payload_bytes(microphone->settings.codec, microphone->settings.channels,
                              microphone->settings.frame_samples);
}

bool bridge_microphone_init(bridge_microphone *microphone, const bridge_microphone_settings *settings,
                            bridge_ring *ring) {
  memset(microphone, 0, sizeof *microphone);
  if ((settings->channels != 1 && settings->channels != 2) || settings->codec > BRIDGE_ADPCM ||
      settings->frame_samples == 0 || settings->frame_samples > BRIDGE_AUDIO_SAMPLES ||
      (settings->before == NULL) != (settings->before_frames == 0) || settings->before_frames == 1 || !is_gate(settings->gate)) {
    return false;
  }
  microphone->settings = *settings;
  microphone->ring = ring;
  microphone->level_below_fs_db = BRIDGE_UNKNOWN_LEVEL;
  if (settings->gate != NULL) {
    bridge_gate_init(&microphone->gate, settings->gate);
  }
  return BRIDGE_HEADER_BYTES + BRIDGE_AUDIO_HEAD_BYTES + slot_bytes(microphone) <= BRIDGE_FRAME_BYTES;
}

/* The first bytes of a payload: ADPCM's state before each block. */
static void write_heads(const bridge_microphone *microphone, uint8_t *payload, size_t block) {
  for (uint8_t channel = 0; channel < microphone->settings.channels; channel++) {
    uint8_t *head = payload + channel * block;
    bridge_put16(head, (uint16_t)microphone->adpcm[channel].predictor);
    head[2] = microphone->adpcm[channel].index;
    head[3] = 0;
  }
}

/* Encodes `count` samples of one channel, which begin at sample `start` of the frame. */
static void encode_channel(bridge_adpcm *state, const int16_t *samples, size_t start, size_t count, size_t stride,
                           uint8_t *codes) {
  for (size_t index = 0; index < count; index++) {
    const uint8_t code = bridge_adpcm_encode(state, samples[index * stride]);
    uint8_t *pair = codes + (start + index) / 2U;
    *pair = (start + index) % 2U == 0 ? code : (uint8_t)(*pair | (code << 4));
  }
}

/* Moves `samples` samples a channel from the ring to `payload`; returns the sum of their squares. */
static uint64_t encode_frame(bridge_microphone *microphone, uint16_t samples, uint8_t *payload) {
  const uint8_t channels = microphone->settings.channels;
  const size_t block = bridge_payload_bytes(BRIDGE_ADPCM, 1, samples);
  uint64_t squares = 0;
  if (microphone->settings.codec == BRIDGE_ADPCM) {
    write_heads(microphone, payload, block);
  }
  for (size_t done = 0; done < samples;) {
    int16_t piece[PIECE];
    size_t values = ((size_t)samples - done) * channels;
    values = bridge_ring_read(microphone->ring, piece, values < PIECE ? (uint32_t)values : PIECE);
    const size_t count = values / channels;
    for (uint8_t channel = 0; channel < channels; channel++) {
      squares += bridge_sum_of_squares(&microphone->blockers[channel], piece + channel, count, channels);
      if (microphone->settings.codec == BRIDGE_ADPCM) {
        encode_channel(&microphone->adpcm[channel], piece + channel, done, count, channels,
                       payload + channel * block + BRIDGE_BLOCK_HEAD_BYTES);
      }
    }
    if (microphone->settings.codec == BRIDGE_PCM) {
      for (size_t index = 0; index < values; index++) {
        bridge_put16(payload + 2U * (done * channels + index), (uint16_t)piece[index]);
      }
    }
    done += count;
  }
  return squares;
}

/* Keeps the level of each second for STATUS. */
static void note_level(bridge_microphone *microphone, uint64_t squares, uint32_t values) {
  microphone->squares += squares;
  microphone->square_count += values;
  if (microphone->square_count >= microphone->settings.rate_hz * microphone->settings.channels) {
    microphone->level_below_fs_db =
        bridge_db_below_full_scale((uint32_t)(microphone->squares / microphone->square_count));
    microphone->squares = 0;
    microphone->square_count = 0;
  }
}

static void leave_out_before(bridge_microphone *microphone) {
  microphone->gated_samples += (uint32_t)microphone->before_count * microphone->settings.frame_samples;
  microphone->before_count = 0;
}

/* Keeps a whole frame; where there is no room for it, the oldest one that was kept is left out for good. */
static void hold_back(bridge_microphone *microphone, const uint8_t *payload) {
  const uint8_t slots = microphone->settings.before_frames;
  if (microphone->before_count == slots) {
    microphone->gated_samples += microphone->settings.frame_samples;
    microphone->before_first = (uint8_t)((microphone->before_first + 1U) % slots);
    microphone->before_count--;
  }
  const size_t slot = ((size_t)microphone->before_first + microphone->before_count) % slots;
  memcpy(microphone->settings.before + slot * slot_bytes(microphone), payload, slot_bytes(microphone));
  microphone->before_count++;
}

static void fill(bridge_microphone *microphone, uint64_t first_sample, uint16_t samples, const uint8_t *payload,
                 bridge_audio *audio) {
  audio->sequence = microphone->sequence;
  audio->first_sample = first_sample;
  audio->gated_samples = microphone->gated_samples;
  audio->codec = microphone->settings.codec;
  audio->channels = microphone->settings.channels;
  audio->samples = samples;
  audio->payload.bytes = payload;
  audio->payload.count =
      (uint16_t)bridge_payload_bytes(microphone->settings.codec, microphone->settings.channels, samples);
  microphone->sequence++;
  microphone->silent_samples = 0;
}

/* Gives the oldest frame that was held back. What comes after those is still in the ring. */
static void give_before(bridge_microphone *microphone, uint8_t *payload, bridge_audio *audio) {
  const uint16_t samples = microphone->settings.frame_samples;
  memcpy(payload, microphone->settings.before + microphone->before_first * slot_bytes(microphone),
         slot_bytes(microphone));
  fill(microphone, microphone->position - (uint64_t)microphone->before_count * samples, samples, payload, audio);
  microphone->before_first = (uint8_t)((microphone->before_first + 1U) % microphone->settings.before_frames);
  microphone->before_count--;
}

/* The samples of the frame that the ring has: a whole one, what there is before a hole or a pause, or 0. */
static uint16_t frame_in_ring(const bridge_microphone *microphone) {
  const uint32_t samples = bridge_ring_readable(microphone->ring) / microphone->settings.channels;
  if (samples >= microphone->settings.frame_samples) {
    return microphone->settings.frame_samples;
  }
  return microphone->flushing || bridge_ring_has_hole(microphone->ring) ? (uint16_t)samples : 0;
}

/* Passes the hole that the ring's reader stands before. */
static bool pass_hole(bridge_microphone *microphone) {
  const uint32_t hole = bridge_ring_pass_hole(microphone->ring) / microphone->settings.channels;
  if (hole == 0) {
    return false;
  }
  leave_out_before(microphone);
  microphone->position += hole;
  microphone->overrun_samples += hole;
  return true;
}

static bool is_silent_long(const bridge_microphone *microphone) {
  return microphone->silent_samples >= microphone->settings.rate_hz;
}

/* Takes a frame from the ring; whether it is to be sent at once. */
static bool take_frame(bridge_microphone *microphone, uint16_t samples, uint8_t *payload, bridge_audio *audio) {
  const uint32_t values = (uint32_t)samples * microphone->settings.channels;
  const uint64_t squares = encode_frame(microphone, samples, payload);
  note_level(microphone, squares, values);
  const uint64_t first_sample = microphone->position;
  microphone->position += samples;
  const bool open =
      microphone->settings.gate == NULL || bridge_gate_take(&microphone->gate, (uint32_t)(squares / values));
  const bool whole = samples == microphone->settings.frame_samples;
  microphone->silent_samples += samples;
  if (whole && microphone->settings.before_frames > 0 && (!open || microphone->before_count > 0)) {
    hold_back(microphone, payload);
    microphone->opening = open;
    return false;
  }
  leave_out_before(microphone);
  if (!open && !is_silent_long(microphone)) {
    microphone->gated_samples += samples;
    return false;
  }
  fill(microphone, first_sample, samples, payload, audio);
  return true;
}

bool bridge_microphone_next(bridge_microphone *microphone, uint8_t *payload, bridge_audio *audio) {
  for (;;) {
    if ((microphone->opening || is_silent_long(microphone)) && microphone->before_count > 0) {
      give_before(microphone, payload, audio);
      return true;
    }
    microphone->opening = false;
    const uint16_t samples = frame_in_ring(microphone);
    if (samples > 0) {
      if (take_frame(microphone, samples, payload, audio)) {
        return true;
      }
    } else if (!pass_hole(microphone)) {
      microphone->flushing = false;
      return false;
    }
  }
}

void bridge_microphone_flush(bridge_microphone *microphone) { microphone->flushing = true; }

void bridge_microphone_discard(bridge_microphone *microphone) {
  int16_t piece[PIECE];
  leave_out_before(microphone);
  microphone->opening = false;
  do {
    uint32_t values = bridge_ring_read(microphone->ring, piece, PIECE);
    while (values > 0) {
      microphone->position += values / microphone->settings.channels;
      microphone->overrun_samples += values / microphone->settings.channels;
      values = bridge_ring_read(microphone->ring, piece, PIECE);
    }
  } while (pass_hole(microphone));
}
