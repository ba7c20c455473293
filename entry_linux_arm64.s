#include "textflag.h"

// entry is the first code of the process. Without arguments, it ignores SIGHUP. Then it starts the
// Go runtime. At the start of a process, the top of the stack is argc.
//
//	sigaction := {handler: SIG_IGN, flags: 0, restorer: 0, mask: 0}
//	rt_sigaction(SIGHUP, &sigaction, NULL, sizeof(mask))
TEXT ·entry(SB), NOSPLIT|NOFRAME, $0
	MOVD 0(RSP), R0
	CMP  $1, R0
	BNE  runtime
	SUB  $32, RSP
	MOVD $1, R0     // SIG_IGN
	MOVD R0, 0(RSP)
	MOVD ZR, 8(RSP)
	MOVD ZR, 16(RSP)
	MOVD ZR, 24(RSP)
	MOVD $134, R8   // rt_sigaction
	MOVD $1, R0     // SIGHUP
	MOVD RSP, R1
	MOVD ZR, R2
	MOVD $8, R3
	SVC
	ADD  $32, RSP

runtime:
	B _rt0_arm64_linux(SB)
