package fakegithub

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"
)

// Delivery is one attempt to deliver a webhook.
type Delivery struct {
	ID              int64             `json:"id"`
	Hook            int64             `json:"hook"`
	GUID            string            `json:"guid"` // of the event: the same in all attempts and for all hooks
	Event           string            `json:"event"`
	Action          string            `json:"action,omitempty"`
	DeliveredAt     time.Time         `json:"delivered_at"`
	Duration        float64           `json:"duration"` // seconds
	Redelivery      bool              `json:"redelivery"`
	Status          string            `json:"status"` // "OK", or what was wrong
	StatusCode      int               `json:"status_code"`
	InstallationID  int64             `json:"installation_id,omitempty"`
	RepositoryID    int64             `json:"repository_id,omitempty"`
	URL             string            `json:"url"`
	RequestHeaders  map[string]string `json:"request_headers,omitempty"`
	Payload         json.RawMessage   `json:"payload,omitempty"`
	ResponseHeaders map[string]string `json:"response_headers,omitempty"`
	ResponseBody    string            `json:"response_body,omitempty"`
}

// OK says whether the receiver took it.
func (d Delivery) OK() bool { return d.StatusCode >= 200 && d.StatusCode < 300 }

func (d Delivery) object() object {
	o := object{
		"id": d.ID, "guid": d.GUID, "delivered_at": d.DeliveredAt, "redelivery": d.Redelivery, "duration": d.Duration, "status": d.Status,
		"status_code": d.StatusCode, "event": d.Event, "action": orNull(d.Action), "installation_id": nil, "repository_id": nil, "throttled_at": nil,
	}
	if d.InstallationID != 0 {
		o["installation_id"] = d.InstallationID
	}
	if d.RepositoryID != 0 {
		o["repository_id"] = d.RepositoryID
	}
	return o
}

// deliveryLog is deliveries.jsonl: an append-only file, with everything but headers and payloads also in memory.
type deliveryLog struct {
	mu    sync.Mutex
	file  *os.File
	end   int64
	index []indexed // in the order of the file
}

type indexed struct {
	Delivery // without headers and payload
	offset   int64
	length   int
}

func openDeliveryLog(path string) (*deliveryLog, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the deliveries of the fake GitHub: %w", err)
	}
	l := &deliveryLog{file: f}
	in := bufio.NewReader(f)
	for {
		line, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return l, nil // a last line cut short by a kill is written over
		}
		if err != nil {
			return nil, fmt.Errorf("reading the deliveries of the fake GitHub: %w", err)
		}
		var d Delivery
		if err := json.Unmarshal(line, &d); err != nil {
			return nil, fmt.Errorf("reading %s (remove it to go on without old deliveries): %w", path, err)
		}
		l.remember(d, len(line))
	}
}

func (l *deliveryLog) remember(d Delivery, length int) {
	d.RequestHeaders, d.Payload, d.ResponseHeaders, d.ResponseBody = nil, nil, nil, ""
	l.index = append(l.index, indexed{d, l.end, length})
	l.end += int64(length)
}

func (l *deliveryLog) append(d Delivery) error {
	line, err := plainJSON(d) // a redelivery has the same bytes
	if err != nil {
		return fmt.Errorf("encoding a delivery: %w", err)
	}
	line = append(line, '\n')
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := l.file.WriteAt(line, l.end); err != nil {
		return fmt.Errorf("saving a delivery: %w", err)
	}
	l.remember(d, len(line))
	return nil
}

// list answers up to n attempts of one hook (0 = of all) after a time, newest first, below an id (0 = from the newest);
// status is "", "success" or "failure".
func (l *deliveryLog) list(hook, below int64, status string, after time.Time, n int) []Delivery {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []Delivery
	for _, d := range l.index {
		if (hook == 0 || d.Hook == hook) && (below == 0 || d.ID < below) && !d.DeliveredAt.Before(after) && (status == "" || (status == "success") == d.OK()) {
			out = append(out, d.Delivery)
		}
	}
	slices.SortFunc(out, func(a, b Delivery) int { return int(b.ID - a.ID) })
	return out[:min(n, len(out))]
}

// read answers one attempt with headers and payload.
func (l *deliveryLog) read(id int64) (Delivery, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.IndexFunc(l.index, func(d indexed) bool { return d.ID == id })
	if i < 0 {
		return Delivery{}, errNotFound
	}
	line := make([]byte, l.index[i].length)
	if _, err := l.file.ReadAt(line, l.index[i].offset); err != nil {
		return Delivery{}, fmt.Errorf("reading a delivery: %w", err)
	}
	var d Delivery
	if err := json.NewDecoder(bytes.NewReader(line)).Decode(&d); err != nil {
		return Delivery{}, fmt.Errorf("reading a delivery: %w", err)
	}
	return d, nil
}

// lastID is the highest id used, for a state.json that is older than the log.
func (l *deliveryLog) lastID() int64 {
	var last int64
	for _, d := range l.index {
		last = max(last, d.ID)
	}
	return last
}

func (l *deliveryLog) close() error {
	if err := l.file.Close(); err != nil {
		return fmt.Errorf("closing the deliveries of the fake GitHub: %w", err)
	}
	return nil
}
