// Package local is the whole platform on one machine: a miniature Knative and Kubernetes that reads the manifests of
// config/ and eventing/ and runs the real function binaries.
//
//	config/, eventing/ ─► manifest ─► serving (one listener per Knative Service, programs from zero)
//	                              ├─► broker  (one per Broker, with its Triggers)
//	                              ├─► source  (PingSource, ApiServerSource)
//	                              └─► kube    (ConfigMaps, Secrets, Jobs) ─► job (pods as processes)
//	                      build ─► binaries        pg ─► Postgres
//
// Everything listens on 127.0.0.1 unless Options.Hosts says otherwise. A process sees the environment that its manifest
// gives it in a cluster, addresses translated (package pod), and K_SINK, K_SERVICE and the like as Knative injects
// them. What a cluster adds by itself is played, too: a function whose account mounts its token finds the API server,
// here by KUBECONFIG, and may do there what the manifests' roles allow.
//
// The state is below one directory: postgres/, kube.json, ports.json, pods/, services/, sources/, logs/, bin/,
// kubeconfig. A second Start on it goes on where the first ended. One Platform at a time may use it. When the Platform
// stops, and also when its process is killed, every process that it started is ended.
package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"codexk8s.dev/test/local/broker"
	"codexk8s.dev/test/local/build"
	"codexk8s.dev/test/local/child"
	"codexk8s.dev/test/local/job"
	"codexk8s.dev/test/local/kube"
	"codexk8s.dev/test/local/lock"
	"codexk8s.dev/test/local/manifest"
	"codexk8s.dev/test/local/pg"
	"codexk8s.dev/test/local/pod"
	"codexk8s.dev/test/local/serving"
	"codexk8s.dev/test/local/source"
)

// Options say what to run and where. Only ManifestDirs has no usable zero value.
type Options struct {
	// ManifestDirs are read in this order.
	ManifestDirs []string
	// Next are the manifests of another release, to be rolled out and back while everything runs: see Apply and Roll.
	// Its new Services listen from the start; its Brokers and sources are taken to be those of ManifestDirs.
	Next []string
	// Module is a directory of the Go module to build the programs in; empty means the current directory.
	Module string
	// Binaries is a directory with programs built before, see package build; empty means to build them.
	Binaries string
	// Race builds the programs with the race detector.
	Race bool
	// StateDir holds the state; empty means a temporary directory, removed at Stop.
	StateDir string
	// Database says where Postgres is.
	Database Database
	// Secrets and ConfigMaps are data by object name and key. They replace keys of the manifests' objects, and make
	// objects that the manifests leave to the one who installs.
	Secrets, ConfigMaps map[string]map[string]string
	// Env are variables by Service name, or "" for every Service, that win over the manifest's.
	Env map[string]map[string]string
	// JobEnv are variables by name of a Job, one of the manifests or one that a function makes; they win, too.
	JobEnv map[string]map[string]string
	// Ports are fixed ports by Service name, or "broker" and "kubernetes"; the others are free ones.
	Ports map[string]int
	// Hosts are addresses to listen on by Service name; the others listen on 127.0.0.1.
	Hosts map[string]string
	// Kubeconfig is a file that names the cluster in which functions and ApiServerSources work; empty means the one
	// that is played here, which runs the manifests' own Jobs in any case.
	Kubeconfig string
	// IdleAfter is when a Service scales to zero; 0 means a minute.
	IdleAfter time.Duration
	// Grace is the time that a Service's program has to end; 0 means 10 s.
	Grace time.Duration
	// JobRetryDelay is the pause before a Job's first retry; 0 means 10 s.
	JobRetryDelay time.Duration
	// PingEvery replaces the schedule of every PingSource unless it is 0. A negative one means never: see Tick.
	PingEvery time.Duration
	// Logs gets the output of all processes, each line with its origin; nil discards it. It is also kept in files.
	Logs io.Writer
	// OnDelivery is told of each attempt of the broker to deliver; may be nil. It must not block.
	OnDelivery func(broker.Delivery)
}

// Database says where Postgres is, and which Secret tells the functions.
type Database struct {
	// URL of a database; empty means a server of our own in StateDir.
	URL string
	// Secret and Key get the URL; empty means "database" and "DATABASE_URL".
	Secret, Key string
	// Durable keeps the data of a server of our own through a crash of the machine, at the price of speed.
	Durable bool
}

// Platform is a running platform. Its methods may be called from any goroutine.
type Platform struct {
	options  Options
	dir      string
	set      *manifest.Set
	next     *manifest.Set // of Options.Next; nil without
	cluster  *pod.Cluster
	services map[string]*serving.Service // by name.namespace
	brokers  map[string]*broker.Broker   // by name.namespace
	pings    []*source.Ping
	watches  []*source.APIServer
	database string

	mu        sync.Mutex
	revisions map[string]revision // that the next program of a Service is started from, by name.namespace

	// Postgres is nil when Database.URL was given.
	Postgres *pg.Server
	Kube     *kube.Server
	Jobs     *job.Controller

	guard  *child.Guard
	output *child.Shared
	logs   []*os.File
	lock   *os.File
	stop   sync.Once
}

// Start starts everything and returns when the migrations have run and requests may come. ctx bounds the start only.
// After an error nothing is left running.
func Start(ctx context.Context, o Options) (_ *Platform, err error) {
	p := &Platform{
		options: o, services: map[string]*serving.Service{}, brokers: map[string]*broker.Broker{}, revisions: map[string]revision{},
		output: child.NewShared(o.Logs),
	}
	defer func() {
		if err != nil {
			p.Stop()
		}
	}()
	if p.set, err = manifest.Load(o.ManifestDirs...); err != nil {
		return nil, fmt.Errorf("reading the manifests: %w", err)
	}
	if len(o.Next) > 0 {
		if p.next, err = manifest.Load(o.Next...); err != nil {
			return nil, fmt.Errorf("reading the next release's manifests: %w", err)
		}
	}
	if err := p.takeStateDir(); err != nil {
		return nil, err
	}
	binaries, err := p.prepare(ctx)
	if err != nil {
		return nil, err
	}
	if err := p.startCluster(binaries); err != nil {
		return nil, err
	}
	if err := p.listen(); err != nil {
		return nil, err
	}
	if err := p.startEventing(ctx); err != nil {
		return nil, err
	}
	if err := p.runManifestJobs(ctx); err != nil {
		return nil, err
	}
	for _, s := range p.services {
		s.Activate()
	}
	return p, nil
}

// takeStateDir makes and locks the directory, and ends what an earlier platform that was killed left behind.
func (p *Platform) takeStateDir() (err error) {
	p.dir = p.options.StateDir
	remove := ""
	if p.dir == "" {
		if p.dir, err = os.MkdirTemp("", "codexk8s-local-"); err != nil {
			return fmt.Errorf("making the state directory: %w", err)
		}
		remove = p.dir
	}
	if p.dir, err = filepath.Abs(p.dir); err != nil {
		return fmt.Errorf("finding the state directory: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(p.dir, "logs"), 0o755); err != nil {
		return fmt.Errorf("making the state directory: %w", err)
	}
	if p.lock, err = lock.Take(filepath.Join(p.dir, "lock")); err != nil {
		return fmt.Errorf("the state in %s is in use by another platform; stop that one first, or choose another directory: %w", p.dir, err)
	}
	record := filepath.Join(p.dir, "children")
	ended, err := child.EndRecorded(record)
	if err != nil {
		return err
	}
	if ended > 0 {
		slog.Warn("local: processes of an earlier run ended", "count", ended)
	}
	if p.guard, err = child.NewGuard(remove); err != nil {
		return err
	}
	p.guard.Record(record)
	return nil
}

// prepare builds the programs and starts Postgres, side by side.
func (p *Platform) prepare(ctx context.Context) (map[string]string, error) {
	var all sync.WaitGroup
	var binaries map[string]string
	var buildErr, databaseErr error
	images := p.set.Images()
	if p.next != nil {
		images = slices.Compact(slices.Sorted(slices.Values(append(images, p.next.Images()...))))
	}
	all.Go(func() {
		if p.options.Binaries != "" {
			binaries, buildErr = build.Prebuilt(p.options.Binaries, images)
			return
		}
		binaries, buildErr = build.Images(ctx, p.options.Module, filepath.Join(p.dir, "bin"), images, p.options.Race)
	})
	all.Go(func() { databaseErr = p.startPostgres(ctx) })
	all.Wait()
	return binaries, errors.Join(buildErr, databaseErr)
}

func (p *Platform) startPostgres(ctx context.Context) error {
	if p.database = p.options.Database.URL; p.database != "" {
		return nil
	}
	var err error
	p.Postgres, err = pg.Start(ctx, pg.Options{Dir: filepath.Join(p.dir, "postgres"), Durable: p.options.Database.Durable})
	if err != nil {
		return fmt.Errorf("starting postgres: %w", err)
	}
	p.database = p.Postgres.URL("codexk8s")
	return p.Postgres.CreateDatabase(ctx, "codexk8s")
}

// Stop stops everything in the order in which nothing is asked for that is gone already: what makes events, the agents,
// the broker, the functions, Postgres. It returns when no process is left. It may be called twice.
func (p *Platform) Stop() {
	p.stop.Do(func() {
		for _, ping := range p.pings {
			ping.Stop()
		}
		if p.Jobs != nil {
			p.Jobs.Stop()
		}
		for _, w := range p.watches {
			w.Stop()
		}
		for _, b := range p.brokers {
			b.Stop()
		}
		var all sync.WaitGroup
		for _, s := range p.services {
			all.Go(s.Stop)
		}
		all.Wait()
		if p.Kube != nil {
			p.Kube.Close()
			p.Kube.Store.Close()
		}
		if p.Postgres != nil {
			p.Postgres.Stop()
		}
		p.guard.Close()
		for _, file := range p.logs {
			_ = file.Close()
		}
		if p.lock != nil {
			_ = p.lock.Close()
		}
		if p.options.StateDir == "" && p.dir != "" {
			_ = os.RemoveAll(p.dir)
		}
	})
}
