#include "textflag.h"

// entry is the first code of the process. Without arguments, it ignores SIGHUP. Then it starts the
// Go runtime. At the start of a process, the top of the stack is argc.
//
//	sigaction := {handler: SIG_IGN, flags: 0, restorer: 0, mask: 0}
//	rt_sigaction(SIGHUP, &sigaction, NULL, sizeof(mask))
TEXT ·entry(SB), NOSPLIT|NOFRAME, $0
	CMPQ 0(SP), $1
	JNE  runtime
	SUBQ $32, SP
	MOVQ $1, 0(SP)  // SIG_IGN
	MOVQ $0, 8(SP)
	MOVQ $0, 16(SP)
	MOVQ $0, 24(SP)
	MOVQ $13, AX    // rt_sigaction
	MOVQ $1, DI     // SIGHUP
	MOVQ SP, SI
	MOVQ $0, DX
	MOVQ $8, R10
	SYSCALL
	ADDQ $32, SP

runtime:
	JMP _rt0_amd64_linux(SB)
