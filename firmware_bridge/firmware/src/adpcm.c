#include "bridge/adpcm.h"

static const int16_t STEPS[BRIDGE_ADPCM_LAST_INDEX + 1U] = {
    7,     8,     9,     10,    11,    12,    13,    14,    16,    17,    19,    21,    23,    25,    28,
    31,    34,    37,    41,    45,    50,    55,    60,    66,    73,    80,    88,    97,    107,   118,
    130,   143,   157,   173,   190,   209,   230,   253,   279,   307,   337,   371,   408,   449,   494,
    544,   598,   658,   724,   796,   876,   963,   1060,  1166,  1282,  1411,  1552,  1707,  1878,  2066,
    2272,  2499,  2749,  3024,  3327,  3660,  4026,  4428,  4871,  5358,  5894,  6484,  7132,  7845,  8630,
    9493,  10442, 11487, 12635, 13899, 15289, 16818, 18500, 20350, 22385, 24623, 27086, 29794, 32767,
};

static const int8_t INDEX_CHANGES[8] = {-1, -1, -1, -1, 2, 4, 6, 8};

int16_t bridge_adpcm_decode(bridge_adpcm *state, uint8_t code) {
  const int32_t step = STEPS[state->index];
  int32_t difference = step >> 3;
  if ((code & 4U) != 0) {
    difference += step;
  }
  if ((code & 2U) != 0) {
    difference += step >> 1;
  }
  if ((code & 1U) != 0) {
    difference += step >> 2;
  }
  int32_t sample = state->predictor;
  sample += (code & 8U) != 0 ? -difference : difference;
  if (sample > INT16_MAX) {
    sample = INT16_MAX;
  } else if (sample < INT16_MIN) {
    sample = INT16_MIN;
  }
  int32_t index = (int32_t)state->index + INDEX_CHANGES[code & 7U];
  if (index < 0) {
    index = 0;
  } else if (index > (int32_t)BRIDGE_ADPCM_LAST_INDEX) {
    index = (int32_t)BRIDGE_ADPCM_LAST_INDEX;
  }
  state->predictor = (int16_t)sample;
  state->index = (uint8_t)index;
  return (int16_t)sample;
}

uint8_t bridge_adpcm_encode(bridge_adpcm *state, int16_t sample) {
  int32_t step = STEPS[state->index];
  int32_t difference = (int32_t)sample - state->predictor;
  uint8_t code = 0;
  if (difference < 0) {
    code = 8;
    difference = -difference;
  }
  for (uint8_t bit = 4; bit > 0; bit >>= 1) {
    if (difference >= step) {
      code |= bit;
      difference -= step;
    }
    step >>= 1;
  }
  (void)bridge_adpcm_decode(state, code);
  return code;
}

void bridge_adpcm_encode_block(bridge_adpcm *state, const int16_t *samples, size_t count, uint8_t *codes) {
  for (size_t index = 0; index < count; index++) {
    const uint8_t code = bridge_adpcm_encode(state, samples[index]);
    if (index % 2U == 0) {
      codes[index / 2U] = code;
    } else {
      codes[index / 2U] = (uint8_t)(codes[index / 2U] | (code << 4));
    }
  }
}

void bridge_adpcm_decode_block(bridge_adpcm *state, const uint8_t *codes, size_t count, int16_t *samples) {
  for (size_t index = 0; index < count; index++) {
    const uint8_t pair = codes[index / 2U];
    samples[index] = bridge_adpcm_decode(state, index % 2U == 0 ? (uint8_t)(pair & 15U) : (uint8_t)(pair >> 4));
  }
}
