package main

import (
	"os"
	"os/exec"
	"syscall"
)

// orphans has a process stopped when this one dies: it must not hold locks
// that the next service needs (prctl(2), PR_SET_PDEATHSIG).
func orphans(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM} }

func stop(p *os.Process) error { return p.Signal(syscall.SIGTERM) }
