#include "bridge/screen.h"

#include <string.h>

#define LONGEST_CHARACTER 4U

static char *row_of(const bridge_screen *screen, uint8_t row) {
  return screen->cells + row * BRIDGE_ROW_BYTES(screen->columns);
}

static void blank(bridge_screen *screen) {
  for (uint8_t row = 0; row < screen->rows; row++) {
    *row_of(screen, row) = '\0';
  }
}

void bridge_screen_init(bridge_screen *screen, char *cells, uint8_t rows, uint8_t columns) {
  memset(screen, 0, sizeof *screen);
  screen->cells = cells;
  screen->rows = rows;
  screen->columns = columns;
  screen->changed = true;
  blank(screen);
}

/* The bytes of the character at `text`, of which `count` are left. The text is UTF-8: it was checked when it came. */
static size_t step(const uint8_t *text, size_t count) {
  const size_t longest = count < LONGEST_CHARACTER ? count : LONGEST_CHARACTER;
  size_t bytes = 1;
  while (bytes < longest && (text[bytes] & 0xC0U) == 0x80U) {
    bytes++;
  }
  return bytes;
}

/* How many bytes of the text go into one row: as many whole words as fit, or what fits of a word longer than the row. */
static size_t row_bytes(const uint8_t *text, size_t count, uint8_t columns) {
  size_t bytes = 0;
  size_t words = 0;
  for (uint8_t column = 0; column < columns && bytes < count; column++) {
    if (text[bytes] == ' ') {
      words = bytes;
    }
    bytes += step(text + bytes, count - bytes);
  }
  if (bytes == count || text[bytes] == ' ' || words == 0) {
    return bytes;
  }
  return words;
}

static void write_row(char *row, const uint8_t *text, size_t count) {
  for (size_t index = 0; index < count; index++) {
    /* What commands a terminal or ends a string is no text. */
    row[index] = (char)(text[index] < 0x20U || text[index] == 0x7FU ? ' ' : text[index]);
  }
  row[count] = '\0';
}

bridge_ack_result bridge_screen_show(bridge_screen *screen, const bridge_caption *caption, uint32_t now_ms) {
  (void)bridge_screen_update(screen, now_ms); /* what it says is kept in `changed`, which is set below */
  if (screen->shows && screen->lasts && caption->priority < screen->priority) {
    return BRIDGE_BUSY;
  }
  const uint8_t *text = caption->text.bytes;
  size_t left = caption->text.count;
  blank(screen);
  for (uint8_t row = 0; row < screen->rows && left > 0; row++) {
    const size_t bytes = row_bytes(text, left, screen->columns);
    write_row(row_of(screen, row), text, bytes);
    text += bytes;
    left -= bytes;
    while (left > 0 && *text == ' ') {
      text++;
      left--;
    }
  }
  screen->shows = true;
  screen->priority = caption->priority;
  screen->lasts = caption->show_s > 0;
  screen->until_ms = now_ms + caption->show_s * 1000U;
  screen->changed = true;
  return BRIDGE_DONE;
}

bool bridge_screen_update(bridge_screen *screen, uint32_t now_ms) {
  if (screen->shows && screen->lasts && now_ms - screen->until_ms < 0x80000000U) {
    blank(screen);
    screen->shows = false;
    screen->changed = true;
  }
  const bool changed = screen->changed;
  screen->changed = false;
  return changed;
}

const char *bridge_screen_row(const bridge_screen *screen, uint8_t row) { return row_of(screen, row); }
