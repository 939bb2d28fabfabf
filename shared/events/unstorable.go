package events

import (
	"errors"
	"strings"
)

// Unstorable is the one place that judges a database's error: it reports whether the data is at fault, so that trying
// again would fail the same way, as opposed to an outage. serve.StatusOf asks it for every event of every function.
//
// Postgres tells by the class of the SQLSTATE. For what the driver can't even send, such as a number that fits no int,
// it has only words, no type.
//
//	22     data exception: a zero byte, a number out of range, no UUID
//	23502  NULL, 23503 a row that doesn't exist, 23514 a CHECK: what is asked for can't be
//	54     a program's limit: a text too long for its index, too many columns
//
// A unique violation (23505) is none of these: two transactions met, and the next try sees what the other one did. The
// rest is temporary: 08 connection, 40 deadlock, 42 a migration that is still to come, 53 no disk, 55 locked, 57
// shutdown.
// https://www.postgresql.org/docs/current/errcodes-appendix.html
func Unstorable(err error) bool {
	if err == nil {
		return false
	}
	var refused interface{ SQLState() string }
	if !errors.As(err, &refused) {
		return strings.Contains(err.Error(), "failed to encode args[")
	}
	switch code := refused.SQLState(); {
	case strings.HasPrefix(code, "22"), strings.HasPrefix(code, "54"):
		return true
	default:
		return code == "23502" || code == "23503" || code == "23514"
	}
}
