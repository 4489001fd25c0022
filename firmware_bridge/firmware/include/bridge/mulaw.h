/* G.711 mu-law: 16-bit samples in 8 bits each. The wire knows no mu-law; recordings that are part of an image do. */
#ifndef BRIDGE_MULAW_H
#define BRIDGE_MULAW_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

int16_t bridge_mulaw_sample(uint8_t code);

#ifdef __cplusplus
}
#endif

#endif
