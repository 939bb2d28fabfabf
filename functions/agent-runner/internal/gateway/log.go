package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/timestamppb"

	"codexk8s.dev/shared/agentapi"
	"codexk8s.dev/shared/plain"
	"codexk8s.dev/shared/redact"
)

// Bounds of the log: one line, one AppendLogs call, and what is kept while the gateway is away.
const (
	maxLine     = 4 << 10
	maxBatch    = 200
	maxWaiting  = 20_000
	maxProgress = 100
	flushEvery  = time.Second
)

// Streams of the run's log.
const (
	StreamAgent  = "agent"  // what the engine says and does
	StreamRunner = "runner" // what we do
)

// Log sends log lines and the progress line in the background, so that a slow gateway never holds up the engine.
// A line gets its number when it is first sent; a call whose answer was lost is repeated with the same numbers, which
// the gateway recognises. Lines are dropped, oldest first and with a note, if the gateway stays away for long.
type Log struct {
	Gateway agentapi.SessionServiceClient
	Secrets *redact.Secrets

	mu       sync.Mutex
	waiting  []*agentapi.LogLine
	dropped  int
	progress string
	told     string
	cleaners map[string]*redact.Stream // by stream

	sending []*agentapi.LogLine // the batch in flight; only flush touches it and next
	next    int64               // number of sending[0]; 0 = not known yet
	busy    sync.Mutex          // one flush at a time
}

// Add takes text of one or more lines.
func (l *Log) Add(stream, text string) {
	at := timestamppb.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cleaners == nil {
		l.cleaners = map[string]*redact.Stream{StreamAgent: {Secrets: l.Secrets}, StreamRunner: {Secrets: l.Secrets}}
	}
	for line := range strings.Lines(l.cleaners[stream].Clean(plain.Text(text))) {
		line = strings.TrimRight(line, "\r\n")
		if len(line) > maxLine {
			line = fmt.Sprintf("%s … [%d bytes cut]", strings.ToValidUTF8(line[:maxLine], ""), len(line)-maxLine)
		}
		l.waiting = append(l.waiting, &agentapi.LogLine{At: at, Stream: stream, Text: line})
	}
	if over := len(l.waiting) - maxWaiting; over > 0 {
		l.waiting, l.dropped = l.waiting[over:], l.dropped+over
	}
}

// Say logs what the runner does, for the run's readers and for the pod's own log.
func (l *Log) Say(format string, args ...any) {
	text := l.Secrets.Clean(fmt.Sprintf(format, args...))
	slog.Info(text)
	l.Add(StreamRunner, text)
}

// Show replaces the one line of progress that people see.
func (l *Log) Show(text string) {
	text = strings.Join(strings.Fields(l.Secrets.Clean(strings.ToValidUTF8(text, ""))), " ")
	if utf8.RuneCountInString(text) > maxProgress {
		text = string([]rune(text)[:maxProgress-1]) + "…"
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.progress = text
}

// Run sends until ctx ends. A last flush sends what is left then.
func (l *Log) Run(ctx context.Context) {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := l.Flush(ctx); err != nil && ctx.Err() == nil {
				slog.Warn("sending the run's log", "error", err)
			}
		}
	}
}

// Flush sends everything that waits. On error the unsent lines stay for the next flush.
func (l *Log) Flush(ctx context.Context) error {
	l.busy.Lock()
	defer l.busy.Unlock()
	for l.take() {
		if l.next == 0 {
			res, err := l.Gateway.AppendLogs(ctx, &agentapi.AppendLogsRequest{})
			if err != nil {
				return fmt.Errorf("asking for the log's next number: %w", err)
			}
			l.next = max(res.GetNextSeq(), 1)
		}
		if _, err := l.Gateway.AppendLogs(ctx, &agentapi.AppendLogsRequest{FirstSeq: l.next, Lines: l.sending}); err != nil {
			return fmt.Errorf("appending to the log: %w", err)
		}
		l.next += int64(len(l.sending))
		l.sending = nil
	}
	l.mu.Lock()
	text := l.progress
	l.mu.Unlock()
	if text == l.told {
		return nil
	}
	if _, err := l.Gateway.ReportProgress(ctx, &agentapi.ReportProgressRequest{Text: text}); err != nil {
		return fmt.Errorf("reporting progress: %w", err)
	}
	l.told = text
	return nil
}

// take moves the next batch into sending, unless one is there from a failed flush, and says whether there is one.
func (l *Log) take() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.sending) > 0 {
		return true
	}
	if l.dropped > 0 {
		note := &agentapi.LogLine{At: timestamppb.Now(), Stream: StreamRunner, Text: fmt.Sprintf("[%d lines lost: the gateway was away]", l.dropped)}
		l.sending, l.dropped = append(l.sending, note), 0
	}
	n := min(len(l.waiting), maxBatch)
	l.sending = append(l.sending, l.waiting[:n]...)
	l.waiting = l.waiting[n:]
	return len(l.sending) > 0
}
