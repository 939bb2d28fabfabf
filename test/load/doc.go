// Package load measures the platform under load: real binaries, a Postgres that
// syncs to disk, and clients over real connections. Run it with make bench.
package load
