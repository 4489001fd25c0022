/* An activity gate: says which frames of sound are worth the link. Integers only, 32 bytes of state.
 *
 * It follows the room's quiet level, opens for what is louder, and stays open for a while after it, so that a captioner
 * hears pauses as pauses. It does not look for speech: a dripping tap is a sound, too. */
#ifndef BRIDGE_GATE_H
#define BRIDGE_GATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
  uint8_t above_db;     /* opens for what is louder than the quiet level by this; 3 to 30 */
  uint8_t always_db;    /* opens for all that is louder than this many dB below full scale, and so for lasting sounds */
  uint16_t hold_frames; /* frames that it stays open after the last loud one */
} bridge_gate_settings;

typedef struct {
  uint32_t ratio;  /* of mean squares, in 1/16 */
  uint32_t always; /* mean square */
  uint32_t quiet;  /* mean square of the room when nothing is heard */
  uint16_t hold;
  uint16_t left; /* frames for which it is open still */
} bridge_gate;

/* Begins open: the quiet level is not known yet. */
void bridge_gate_init(bridge_gate *gate, const bridge_gate_settings *settings);

/* Takes the mean square of a frame, in squares of sample steps without its mean (0 to 2^30); whether the frame is to be sent. */
bool bridge_gate_take(bridge_gate *gate, uint32_t mean_square);

/* Takes the constant part away from samples: a microphone's own offset is no sound. All zero at the beginning. */
typedef struct {
  int32_t offset; /* in 1/256 sample steps */
} bridge_blocker;

/* The sum of the squares of `count` samples, every `stride`th of them, without their constant part. */
uint64_t bridge_sum_of_squares(bridge_blocker *blocker, const int16_t *samples, size_t count, size_t stride);

/* dB below full scale of a mean square, 0 to 99: that of a square wave as large as can be is 0. Right to 1 dB. */
uint8_t bridge_db_below_full_scale(uint32_t mean_square);

/* The mean square that is `decibels` below full scale, 0 to 90. */
uint32_t bridge_mean_square(uint8_t decibels);

#ifdef __cplusplus
}
#endif

#endif
