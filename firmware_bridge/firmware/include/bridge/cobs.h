/* Consistent overhead byte stuffing (Cheshire and Baker, 1999): bytes without a zero among them, so that a zero can end a
 * frame whatever the frame holds, and a receiver that lost its place finds the next frame at the next zero. */
#ifndef BRIDGE_COBS_H
#define BRIDGE_COBS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The most bytes that `count` bytes become, without the zero that ends them. */
#define BRIDGE_COBS_BOUND(count) ((count) + (count) / 254U + 1U)

/* Takes `count` bytes towards the line. */
typedef void (*bridge_put)(void *context, const uint8_t *bytes, size_t count);

/* Gives `put` the stuffed bytes, in pieces, and the zero that ends them. Needs no memory besides the frame itself. */
void bridge_cobs_encode(const uint8_t *bytes, size_t count, bridge_put put, void *context);

/* What one received byte did. */
typedef enum {
  BRIDGE_COBS_MORE,    /* the frame goes on */
  BRIDGE_COBS_FRAME,   /* the byte ended a frame: `count` bytes of it are in the buffer until the next byte is given */
  BRIDGE_COBS_BROKEN   /* the byte ended a frame that was cut, or longer than the buffer: nothing of it may be used */
} bridge_cobs_result;

/* Takes frames out of a stream of bytes, one byte at a time. */
typedef struct {
  uint8_t *buffer;   /* where a frame is put together; the caller's */
  size_t capacity;   /* bytes */
  size_t count;      /* bytes of the frame so far */
  uint8_t left;      /* bytes to come before the next code */
  bool zero;         /* a zero is owed before the next code's bytes */
  bool broken;       /* longer than the buffer: skipped up to the next zero */
  bool ended;        /* the frame before has been handed out */
} bridge_cobs_decoder;

/* `buffer` of `capacity` bytes must live as long as the decoder. */
void bridge_cobs_decoder_init(bridge_cobs_decoder *decoder, uint8_t *buffer, size_t capacity);

/* Takes one byte from the line. A zero after a zero ends nothing and is BRIDGE_COBS_MORE: a sender may begin with one. */
bridge_cobs_result bridge_cobs_decode(bridge_cobs_decoder *decoder, uint8_t byte);

#ifdef __cplusplus
}
#endif

#endif
