/* What reading and writing of frames agree on: lengths of the bodies, and ranges of their fields. */
#ifndef BRIDGE_FRAME_BODIES_H
#define BRIDGE_FRAME_BODIES_H

#include "bridge/frame.h"

#define HELLO_HEAD_BYTES 22U
#define STATUS_BYTES 26U
#define ALERT_BYTES 6U
#define TIME_BYTES 24U
#define ACK_BYTES 4U

/* Whether every field of the body is in its range, texts and payload included. */
bool bridge_frame_in_range(const bridge_frame *frame);

#endif
