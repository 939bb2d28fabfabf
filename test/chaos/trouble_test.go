package chaos

import (
	"context"
	"math/rand/v2"
	"time"

	"codexk8s.dev/test/local/serving"
)

// functions in the order in which they are killed.
var functions = []string{
	"webhook-adapter", "stage-router", "agent-launcher", "run-observer", "agent-gateway", "llm-caller", "github-caller", "timekeeper",
}

// unleash starts all kinds of trouble. They end with ctx; w.chaos says when.
func (w *world) unleash(ctx context.Context) {
	w.chaos.Go(func() { w.killFunctions(ctx, w.random(1)) })
	w.chaos.Go(func() { w.killAgents(ctx, w.random(2)) })
	w.chaos.Go(func() { w.loseEvents(ctx, w.random(3)) })
	w.chaos.Go(func() { w.stopKubernetes(ctx, w.random(4)) })
	w.chaos.Go(func() { w.letTimePass(ctx) })
}

// killFunctions kills each function in turn. The first time it stays with each until that has died at work.
func (w *world) killFunctions(ctx context.Context, r *rand.Rand) {
	for first := true; ctx.Err() == nil; first = false {
		for _, name := range functions {
			for !w.killAtWork(ctx, name, r) && first && ctx.Err() == nil {
			}
			sleep(ctx, between(r, 0, 400*time.Millisecond))
		}
	}
}

// killAtWork waits until the function has a request in hand and some random milliseconds more, and kills it in the
// midst of that, which it reports. One that has had nothing to do for a second is killed idle.
func (w *world) killAtWork(ctx context.Context, name string, r *rand.Rand) bool {
	service, err := w.stack.Platform.Service(name)
	if err != nil {
		w.t.Error(err)
		return true
	}
	if name == "timekeeper" {
		w.chaos.Go(func() { w.tick(ctx) })
	}
	for began := time.Now(); time.Since(began) < time.Second && ctx.Err() == nil; sleep(ctx, 500*time.Microsecond) {
		if service.InFlight() == 0 {
			continue
		}
		// Some handlers take a millisecond and some a hundred.
		sleep(ctx, between(r, 0, time.Millisecond<<r.IntN(7)))
		if service.InFlight() > 0 {
			break
		}
	}
	return w.kill(service)
}

// kill reports whether the function had a request in hand.
func (w *world) kill(service *serving.Service) bool {
	busy := service.InFlight() > 0
	if !service.Kill() {
		return false
	}
	w.stats.killed(service.Name(), busy)
	return busy
}

// killAgents kills the pods of runs at random, no run's more than twice.
func (w *world) killAgents(ctx context.Context, r *rand.Rand) {
	times := map[string]int{}
	for ctx.Err() == nil {
		sleep(ctx, between(r, 0, 1500*time.Millisecond))
		rows, err := w.db.Query(ctx, `SELECT namespace FROM runs WHERE state IN ('starting', 'running') ORDER BY id`)
		if err != nil {
			continue // Postgres is down
		}
		namespaces, err := texts(rows)
		if err != nil || len(namespaces) == 0 {
			continue
		}
		chosen := namespaces[r.IntN(len(namespaces))]
		if times[chosen] < 2 && w.stack.Platform.Jobs.Kill(chosen) > 0 {
			times[chosen]++
			w.stats.agentKilled()
		}
	}
}

// loseEvents makes the broker, in turn, lose what it holds, lose what it takes, and take nothing.
func (w *world) loseEvents(ctx context.Context, r *rand.Rand) {
	broker := w.stack.Platform.Broker()
	for turn := r.IntN(3); ctx.Err() == nil; turn = (turn + 1) % 3 {
		sleep(ctx, between(r, 300*time.Millisecond, 2*time.Second))
		switch turn {
		case 0:
			w.stats.eventsLost(broker.Forget())
		case 1:
			n := 1 + r.IntN(3)
			broker.Drop(n)
			w.stats.eventsLost(n)
		case 2:
			broker.Refuse(true)
			sleep(ctx, between(r, 0, 300*time.Millisecond))
			broker.Refuse(false)
		}
	}
	broker.Drop(0)
}

// stopKubernetes makes the API server answer nothing for a moment.
func (w *world) stopKubernetes(ctx context.Context, r *rand.Rand) {
	for ctx.Err() == nil {
		sleep(ctx, between(r, 2*time.Second, 6*time.Second))
		w.stack.Platform.Kube.SetOutage(true)
		sleep(ctx, between(r, 0, 500*time.Millisecond))
		w.stack.Platform.Kube.SetOutage(false)
		w.stats.outage()
	}
}

// letTimePass is a minute every two seconds.
func (w *world) letTimePass(ctx context.Context) {
	for ctx.Err() == nil {
		sleep(ctx, 2*time.Second)
		_ = w.pass(ctx, time.Minute) // Postgres may be away; then it passes the next time
		w.tick(ctx)
	}
}

// tick is a PingSource's event. The broker may refuse it; the next one makes up for it.
func (w *world) tick(ctx context.Context) { _ = w.stack.Platform.Tick(ctx) }

// crashPostgres ends Postgres without a checkpoint and starts it again. The webhooks that come meanwhile are in
// webhook-adapter's hands, so it dies, too.
func (w *world) crashPostgres(ctx context.Context) {
	r := w.random(5)
	adapter, err := w.stack.Platform.Service("webhook-adapter")
	if err != nil {
		w.t.Error(err)
		return
	}
	up := make(chan struct{})
	go func() {
		defer close(up)
		if err := w.stack.Platform.Postgres.Restart(context.WithoutCancel(ctx)); err != nil {
			w.t.Errorf("restarting Postgres: %v", err)
		}
	}()
	for {
		select {
		case <-up:
			return
		case <-time.After(between(r, 20*time.Millisecond, 200*time.Millisecond)):
			if adapter.InFlight() > 0 {
				w.kill(adapter)
			}
		}
	}
}

func between(r *rand.Rand, from, to time.Duration) time.Duration {
	return from + time.Duration(r.Int64N(int64(to-from)))
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
