package process

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

// The run token belongs only in this process's memory. A pod passes it in the environment, and Linux shows every
// process of the same user, such as the agent's commands, the environment that a process was started with, whatever it
// does to it later (https://man7.org/linux/man-pages/man5/proc_pid_environ.5.html). So the program executes itself
// again, without the token in its environment, and then reads it from a pipe, which is empty and closed afterwards.
// Both times the process is closed to others of its user (guard), so neither its memory nor its files can be read. No
// child gets the token: the CLI calls the model through us (package model), and Git gets a credential (package
// checkout).
const (
	TokenVariable = "RUN_TOKEN"
	tokenPipe     = "AGENT_RUNNER_TOKEN_FD" // number of the pipe after the second start
)

// The program executes itself on its first thread, which keeps what a parent set for it, as the signal at its death.
func init() { runtime.LockOSThread() }

// TakeToken puts the token where settings read it, TokenVariable. The caller removes it from there.
func TakeToken() error {
	if err := guard(); err != nil {
		return fmt.Errorf("closing this process to the agent's: %w", err)
	}
	fd, second := os.LookupEnv(tokenPipe)
	if !second {
		if token, ok := os.LookupEnv(TokenVariable); ok {
			return beginAgain(token)
		}
		return nil // settings say that it is missing
	}
	runtime.UnlockOSThread()
	number, err := strconv.Atoi(fd)
	if err != nil {
		return fmt.Errorf("reading %s: %w", tokenPipe, err)
	}
	pipe := os.NewFile(uintptr(number), "token")
	token, err := io.ReadAll(pipe)
	if err = errors.Join(err, pipe.Close(), os.Unsetenv(tokenPipe), os.Setenv(TokenVariable, string(token))); err != nil {
		return fmt.Errorf("reading the run token: %w", err)
	}
	return nil
}

// maxToken is what a pipe is sure to hold without a reader (at least 512 in POSIX, 64 KiB on Linux).
const maxToken = 16 << 10

// beginAgain executes this program again. It returns only when that fails.
func beginAgain(token string) error {
	if len(token) > maxToken {
		return fmt.Errorf("%s has %d bytes, a run token has at most %d", TokenVariable, len(token), maxToken)
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	var ends [2]int
	if err := syscall.Pipe(ends[:]); err != nil { // without close-on-exec, which os.Pipe sets
		return fmt.Errorf("making a pipe for the run token: %w", err)
	}
	if _, err := syscall.Write(ends[1], []byte(token)); err != nil {
		return fmt.Errorf("handing the run token on: %w", err)
	}
	if err := syscall.Close(ends[1]); err != nil {
		return fmt.Errorf("handing the run token on: %w", err)
	}
	environ := []string{tokenPipe + "=" + strconv.Itoa(ends[0])}
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, TokenVariable+"=") {
			environ = append(environ, v)
		}
	}
	return fmt.Errorf("executing %s again: %w", self, syscall.Exec(self, os.Args, environ))
}
