#include "bridge/gate.h"

#define FULL_SCALE ((uint32_t)1 << 30)
#define RATIO_BITS 4U
#define QUIETEST 16U       /* mean square below which no microphone of 16 bits says anything: -78 dB */
#define FALLS 3U           /* the quiet level goes an eighth of the way down in a frame ... */
#define RISES 8U           /* ... and 1/256 of itself up: 4 dB in 5 s of frames of 20 ms */
#define HIGHEST_DB 99U
#define LAST_TENTHS 900U

uint32_t bridge_mean_square(uint8_t decibels) {
  /* Halving is 3.01 dB; the rest of up to 3 dB is 10^(-rest/10) in 1/1024. */
  static const uint16_t RESTS[3] = {1024, 813, 646};
  const unsigned halvings = decibels / 3U;
  const uint32_t mean = (uint32_t)(FULL_SCALE >> 10) * RESTS[decibels % 3U];
  /* Thirty halvings are 90.3 dB: within the accuracy that anyone asks of a threshold. */
  return halvings < 31U ? mean >> halvings : 0;
}

uint8_t bridge_db_below_full_scale(uint32_t mean_square) {
  if (mean_square == 0) {
    return HIGHEST_DB;
  }
  uint32_t tenths = 0;
  while (mean_square < FULL_SCALE && tenths < LAST_TENTHS) {
    mean_square <<= 1;
    tenths += 30U;
  }
  /* Between 1 and 2 times full scale: a logarithm's chord, a quarter of a dB off at the most. */
  const uint32_t above = ((mean_square - FULL_SCALE) >> 20) * 30U / 1024U;
  tenths = tenths > above ? tenths - above : 0;
  return (uint8_t)((tenths + 5U) / 10U);
}

void bridge_gate_init(bridge_gate *gate, const bridge_gate_settings *settings) {
  uint32_t ratio = 1U << (RATIO_BITS + settings->above_db / 3U);
  static const uint8_t RESTS[3] = {16, 20, 25}; /* 10^(rest/10) in 1/16 */
  ratio = ratio * RESTS[settings->above_db % 3U] / RESTS[0];
  gate->ratio = ratio;
  gate->always = bridge_mean_square(settings->always_db);
  gate->quiet = gate->always;
  gate->hold = settings->hold_frames;
  gate->left = settings->hold_frames;
}

bool bridge_gate_take(bridge_gate *gate, uint32_t mean_square) {
  if (mean_square < gate->quiet) {
    gate->quiet -= (gate->quiet - mean_square) >> FALLS;
  } else if (gate->quiet < gate->always) {
    gate->quiet += (gate->quiet >> RISES) + 1U;
  }
  if (gate->quiet < QUIETEST) {
    gate->quiet = QUIETEST;
  }
  const uint64_t threshold = ((uint64_t)gate->quiet * gate->ratio) >> RATIO_BITS;
  if (mean_square >= threshold || mean_square >= gate->always) {
    gate->left = gate->hold;
    return true;
  }
  if (gate->left > 0) {
    gate->left--;
    return true;
  }
  return false;
}

uint64_t bridge_sum_of_squares(bridge_blocker *blocker, const int16_t *samples, size_t count, size_t stride) {
  uint64_t sum = 0;
  int32_t offset = blocker->offset;
  for (size_t index = 0; index < count; index++) {
    const int32_t sample = samples[index * stride];
    const int32_t rest = sample - offset / 256;
    /* A first-order high pass: a time of 1024 samples, 2.5 Hz at 16 kHz. */
    offset += (sample * 256 - offset) / 1024;
    /* An offset of one sign and a sample of the other: beyond 16 bits, and the square beyond 2^30. */
    const uint32_t size = (uint32_t)(rest < 0 ? -rest : rest);
    sum += (uint64_t)size * size;
  }
  blocker->offset = offset;
  return sum;
}
