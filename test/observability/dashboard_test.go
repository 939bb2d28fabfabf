package observability_test

import (
	"encoding/json"
	"fmt"
	"strings"

	"codexk8s.dev/shared/metrics"
)

type object = map[string]any

// rows of the dashboard: metrics by the beginning of their names. A metric that fits in none is in the last.
var rows = []struct{ title, prefix string }{
	{"Runs", "codexk8s.run"},
	{"Events", "codexk8s.delivery|codexk8s.receipts|codexk8s.dead_letters"},
	{"Approvals", "codexk8s.approval|codexk8s.votes"},
	{"Webhooks", "codexk8s.webhook"},
	{"Models", "codexk8s.model|codexk8s.budget"},
	{"GitHub", "codexk8s.github"},
	{"Other", ""},
}

// dashboard is Grafana's JSON of one panel per counter and gauge, and two per histogram, three beside each other.
func dashboard() (string, error) {
	var panels []object
	done := map[string]bool{}
	y := 0
	for _, row := range rows {
		var own []object
		for _, m := range metrics.All() {
			if !done[m.Name] && begins(m.Name, row.prefix) {
				done[m.Name] = true
				own = append(own, panelsOf(m)...)
			}
		}
		if len(own) == 0 {
			continue
		}
		panels = append(panels, object{"type": "row", "title": row.title, "collapsed": false, "panels": []object{}, "gridPos": object{"x": 0, "y": y, "w": 24, "h": 1}})
		y++
		for i, p := range own {
			p["gridPos"] = object{"x": i % 3 * 8, "y": y + i/3*8, "w": 8, "h": 8}
		}
		panels = append(panels, own...)
		y += (len(own) + 2) / 3 * 8
	}
	for i, p := range panels {
		p["id"] = i + 1
	}
	text, err := json.MarshalIndent(object{
		"title": "codex-k8s", "uid": "codexk8s", "description": strings.TrimSpace(generated("")), "tags": []string{"codexk8s"},
		"schemaVersion": 39, "version": 1, "editable": true, "refresh": "1m", "timezone": "browser",
		"time": object{"from": "now-6h", "to": "now"}, "panels": panels,
		"templating": object{"list": []object{{"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}}},
	}, "", "  ")
	return string(text) + "\n", err
}

func begins(name, prefixes string) bool {
	for prefix := range strings.SplitSeq(prefixes, "|") {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// panelsOf draws a metric by its kind.
func panelsOf(m metrics.Metric) []object {
	name, by, legend := m.Prometheus(), strings.Join(m.Labels, ", "), legendOf(m.Labels)
	switch m.Kind {
	case metrics.KindCounter:
		return []object{panel(m.Name+" by "+by, m.Help, "short", target(fmt.Sprintf("sum by (%s) (increase(%s[$__rate_interval]))", by, name), legend))}
	case metrics.KindHistogram:
		first := m.Labels[0]
		times := panel(m.Name+", p50 and p99 by "+first, m.Help, "s")
		for _, q := range []struct{ p, name string }{{"0.5", "p50"}, {"0.99", "p99"}} {
			times["targets"] = append(times["targets"].([]object), target(
				fmt.Sprintf("histogram_quantile(%s, sum by (le, %s) (rate(%s_bucket[$__rate_interval])))", q.p, first, name), q.name+" {{"+first+"}}"))
		}
		count := panel(m.Name+", count by "+by, m.Help, "short", target(fmt.Sprintf("sum by (%s) (increase(%s_count[$__rate_interval]))", by, name), legend))
		return []object{times, count}
	case metrics.KindGauge:
		worst, unit := "max", "short"
		if m.Name == metrics.GitHubRemaining.Name {
			worst = "min"
		}
		if m.Unit == "s" {
			unit = "s"
		}
		if by != "" {
			worst += " by (" + by + ")"
		}
		return []object{panel(m.Name, m.Help, unit, target(fmt.Sprintf("%s (last_over_time(%s[%s]))", worst, name, tick), legend))}
	}
	return nil
}

func panel(title, help, unit string, targets ...object) object {
	for i := range targets {
		targets[i]["refId"] = string(rune('A' + i))
	}
	return object{
		"type": "timeseries", "title": strings.TrimSuffix(title, " by "), "description": help,
		"datasource": object{"type": "prometheus", "uid": "${datasource}"}, "targets": append([]object{}, targets...),
		"fieldConfig": object{"defaults": object{"unit": unit, "min": 0, "custom": object{"spanNulls": true}}, "overrides": []object{}},
		"options":     object{"legend": object{"displayMode": "list", "placement": "bottom"}, "tooltip": object{"mode": "multi", "sort": "desc"}},
	}
}

func target(expr, legend string) object {
	return object{"expr": expr, "legendFormat": legend, "range": true}
}

func legendOf(labels []string) string {
	parts := make([]string, len(labels))
	for i, l := range labels {
		parts[i] = "{{" + l + "}}"
	}
	return strings.Join(parts, " ")
}
