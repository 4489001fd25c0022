/* IMA ADPCM (Interactive Multimedia Association, 1992): 16-bit samples as 4 bits each. */
#ifndef BRIDGE_ADPCM_H
#define BRIDGE_ADPCM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What encoder and decoder both know after each sample. All zero at the beginning of a stream. */
typedef struct {
  int16_t predictor; /* the sample as decoded */
  uint8_t index;     /* into the table of steps, 0 to 88 */
} bridge_adpcm;

#define BRIDGE_ADPCM_LAST_INDEX 88U

/* The code (0 to 15) of one sample; `state` becomes what the decoder will have. */
uint8_t bridge_adpcm_encode(bridge_adpcm *state, int16_t sample);

/* The sample of one code (its low 4 bits). `state->index` must be in its range. */
int16_t bridge_adpcm_decode(bridge_adpcm *state, uint8_t code);

/* Encodes `count` samples into (count + 1) / 2 bytes, the earlier sample in the low half. */
void bridge_adpcm_encode_block(bridge_adpcm *state, const int16_t *samples, size_t count, uint8_t *codes);

/* Decodes `count` samples from (count + 1) / 2 bytes. */
void bridge_adpcm_decode_block(bridge_adpcm *state, const uint8_t *codes, size_t count, int16_t *samples);

#ifdef __cplusplus
}
#endif

#endif
