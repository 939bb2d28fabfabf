//go:build race

package main

// A race detector takes 5 to 10 times the memory. https://go.dev/doc/articles/race_detector#Runtime_Overheads
const memoryFactor = 5
