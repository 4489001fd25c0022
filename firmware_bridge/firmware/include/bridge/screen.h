/* A caption on a small display of characters: wrapped at words, shown for its time, not pushed away by a lesser one. The
 * port draws the rows; characters are UTF-8, one column each. */
#ifndef BRIDGE_SCREEN_H
#define BRIDGE_SCREEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bridge/frame.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes of a row of `columns` characters, with the zero that ends it. */
#define BRIDGE_ROW_BYTES(columns) ((size_t)(columns) * 4U + 1U)

typedef struct {
  char *cells; /* rows * BRIDGE_ROW_BYTES(columns), the caller's */
  uint8_t rows;
  uint8_t columns;
  uint8_t priority;  /* of what is shown */
  bool shows;        /* a caption is on the screen */
  bool lasts;        /* until `until_ms`, else until the next caption */
  bool changed;      /* since it was last asked */
  uint32_t until_ms;
} bridge_screen;

/* Begins blank. */
void bridge_screen_init(bridge_screen *screen, char *cells, uint8_t rows, uint8_t columns);

/* Shows a caption, cut where the screen is full; BRIDGE_BUSY while a more important one has its time. */
bridge_ack_result bridge_screen_show(bridge_screen *screen, const bridge_caption *caption, uint32_t now_ms);

/* Blanks the screen when the caption's time is over. True, once, where the rows are to be drawn anew. */
bool bridge_screen_update(bridge_screen *screen, uint32_t now_ms);

/* A row's text, with a zero at its end. */
const char *bridge_screen_row(const bridge_screen *screen, uint8_t row);

#ifdef __cplusplus
}
#endif

#endif
