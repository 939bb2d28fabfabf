package observability_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"codexk8s.dev/shared/reason"
)

// tick covers two of timekeeper's ticks, which set the gauges: in between its pod is gone, and so is what it pushed.
const tick = "12m"

// An alert is one rule. Means and Do are its runbook, and its row in config/observability/README.md.
type alert struct {
	Name, Expr, For, Severity string
	Means, Do                 string
}

var alerts = []alert{
	{
		"CodexK8sNoTick", `absent_over_time(codexk8s_runs[15m])`, "5m", "critical",
		"timekeeper has said nothing for three ticks: no timer fires, no loss is found (or no metrics arrive)",
		"`make doctor`: last tick, PingSource, Broker; then timekeeper's log; then the way of the metrics",
	},
	{
		"CodexK8sReceiptsOverdue", `max by (function) (last_over_time(codexk8s_receipts_oldest_seconds[` + tick + `])) > 1200`, "5m", "critical",
		"a function has not recorded an event for twenty minutes, though it was sent again",
		"its log and its Trigger; the events come again for half a day, then they are dead letters",
	},
	{
		"CodexK8sDeadLetters", `max by (function) (last_over_time(codexk8s_dead_letters_open[` + tick + `])) > 0`, "5m", "warning",
		"an event failed for good",
		"`make dead-letters` says why; when the cause is gone, `make replay`",
	},
	{
		"CodexK8sWebhooksNotStored", `sum(rate(codexk8s_webhook_requests_total{code=~"5.."}[10m])) > 0`, "5m", "critical",
		"webhook-adapter can't store deliveries; GitHub does not send them again, timekeeper fetches them later",
		"Postgres: does it answer, has it room and connections left",
	},
	{
		"CodexK8sWebhookSignatures", `sum(increase(codexk8s_webhook_requests_total{outcome=~"wrong_signature|no_signature"}[15m])) > 5`, "0m", "warning",
		"requests with a wrong signature: a hook with another secret, or a stranger",
		"the hook's recent deliveries at GitHub; put its secret into `webhook-secrets`, beside the old one",
	},
	{
		"CodexK8sDeliveriesFail", `sum by (function) (rate(codexk8s_delivery_duration_seconds_count{code="500"}[15m])) > 0.1 * sum by (function) (rate(codexk8s_delivery_duration_seconds_count[15m]))`, "15m", "warning",
		"a tenth of what a function is sent ends in an error; the Broker and timekeeper send it again",
		"that function's log, level ERROR",
	},
	{
		"CodexK8sRunsFail", `sum(increase(codexk8s_runs_finished_total{state=~"failed|timed_out"}[2h])) > 2 and sum(increase(codexk8s_runs_finished_total{state=~"failed|timed_out"}[2h])) > (sum(increase(codexk8s_runs_finished_total{state="succeeded"}[2h])) or vector(0))`, "0m", "warning",
		"more runs fail than succeed",
		"the panel of ends by reason; the reason's row under Troubleshooting",
	},
	{
		"CodexK8sRunsSilent", `max(last_over_time(codexk8s_runs_silent[` + tick + `])) > 0`, "15m", "warning",
		"an agent sends no heartbeat, and the platform has not ended its run",
		"`make doctor` names the run; its pod, its network policy to agent-gateway",
	},
	{
		"CodexK8sRunsWait", `max(last_over_time(codexk8s_runs{state="queued"}[` + tick + `])) > 0`, "2h", "info",
		"runs have waited for a free place for two hours",
		"`make doctor` shows places by project; raise `parallel`, or stop a run",
	},
	{
		"CodexK8sRunsStartSlowly", `sum(rate(codexk8s_run_start_duration_seconds_sum[30m])) / sum(rate(codexk8s_run_start_duration_seconds_count[30m])) - sum(rate(codexk8s_run_queue_duration_seconds_sum[30m])) / sum(rate(codexk8s_run_queue_duration_seconds_count[30m])) > 60`, "15m", "warning",
		"from admission to the Job it takes over a minute on average",
		"agent-launcher's log; the API server's load; webhooks and quotas that slow down new namespaces",
	},
	{
		"CodexK8sApprovalsWait", `max(last_over_time(codexk8s_approvals_oldest_seconds[` + tick + `])) > 86400`, "15m", "info",
		"people have not decided a request for a day; its run waits, and holds no pod",
		"the message in the chats or on the issue; the policy's reminders, ladder and deadline",
	},
	{
		"CodexK8sChannelUndeliverable", `sum by (channel, outcome) (increase(codexk8s_approval_messages_total{outcome!="delivered"}[30m])) > 0`, "0m", "warning",
		"a chat or tracker does not take messages about requests",
		"the outcome names why; approval-notifier's log; the bot's token, and whether it is a member of the chat",
	},
	{
		"CodexK8sVotesRefused", `sum by (channel, reason) (increase(codexk8s_votes_refused_total{reason!~"already_voted|request_.*"}[1h])) > 10`, "0m", "info",
		"people click and their votes do not count",
		"the reason; `not_linked`: give them a code; `not_permitted`: the policy's `who`; the audit says who it was",
	},
	{
		"CodexK8sCallbacksRefused", `sum by (channel, outcome) (increase(codexk8s_approval_callbacks_total{code=~"4..|5.."}[15m])) > 5`, "0m", "warning",
		"callbacks of a channel are refused: another secret there, or a stranger; 503: they could not be stored",
		"the channel's secret in `codexk8s-chat`, beside the old one; Postgres",
	},
	{
		"CodexK8sModelFails", `sum by (model) (rate(codexk8s_model_call_duration_seconds_count{code=~"401|429|5.."}[15m])) > 0.2 * sum by (model) (rate(codexk8s_model_call_duration_seconds_count[15m]))`, "10m", "warning",
		"a fifth of a model's calls fail: key refused (401), limit met (429), provider down (5xx)",
		"llm-caller's log; the key in `codexk8s-openai`; the account's limits; the provider's status page",
	},
	{
		"CodexK8sModelCost", `sum(increase(codexk8s_model_cost_usd_total[1h])) > 50`, "0m", "warning",
		"models cost over $50 in an hour; set the figure to what you expect",
		"the panels of tokens and cost; `run:abort` on the issues that burn it; smaller `parallel`",
	},
	{
		"CodexK8sBudgetNearlySpent", `max by (scope) (last_over_time(codexk8s_budget_used{scope=~"project|day|month"}[` + tick + `])) >= 80`, "0m", "info",
		"four fifths of a project's budget are spent; at its end its runs wait and people are asked",
		"`make doctor` names it; `make usage` says for what; raise the figure, or let it end",
	},
	{
		"CodexK8sRunsWaitForMoney", `max(last_over_time(codexk8s_runs_waiting_oldest_seconds{for="budget"}[` + tick + `])) > 3600`, "0m", "warning",
		"a run has waited for an hour for people to extend its budget",
		"the message in the chats or on the issue: extend it, or stop the run",
	},
	{
		"CodexK8sModelLimited", `max(last_over_time(codexk8s_models_paused[` + tick + `])) > 0`, "1h", "warning",
		"a model's provider has limited it for an hour or named a long wait; its runs wait",
		"`make doctor` says until when and why; `quota_exhausted`: pay or raise it; `models.fallback` of the process lets another model stand in",
	},
	{
		"CodexK8sPricesOld", `max(last_over_time(codexk8s_model_prices_age_seconds[6h])) > 120 * 86400`, "0m", "info",
		"the prices by which calls are counted are older than 120 days",
		"a later release, or a list of your own as `PRICES_FILE` of llm-caller",
	},
	{
		"CodexK8sGitHubPaused", `max(last_over_time(codexk8s_github_paused[` + tick + `])) > 0`, "15m", "warning",
		"a credential has met GitHub's limit; labels and comments wait for its end, and nothing is lost",
		"`make doctor` says until when; who else uses the App or token",
	},
	{
		"CodexK8sGitHubLimit", `min by (resource) (last_over_time(codexk8s_github_rate_limit_remaining{resource="core"}[15m])) < 500`, "5m", "warning",
		"GitHub's limit is nearly met; after it, labels and comments wait for its reset",
		"who else uses the App or token; an App has more than a token",
	},
}

// rules is the PrometheusRule of the alerts.
func rules() string {
	var b strings.Builder
	b.WriteString(generated("# ") + `apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: codexk8s
  namespace: codexk8s
spec:
  groups:
    - name: codexk8s
      rules:
`)
	for _, a := range alerts {
		fmt.Fprintf(&b, "        - alert: %s\n          expr: %s\n          for: %s\n          labels: {severity: %s}\n          annotations:\n            summary: %s\n            description: %s\n",
			a.Name, quoted(a.Expr), a.For, a.Severity, quoted(plain(a.Means)), quoted(plain(a.Do)))
	}
	return b.String()
}

// quoted is a YAML string in single quotes.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

func plain(s string) string { return strings.ReplaceAll(s, "`", "") }

// runbook is the table of config/observability/README.md.
func runbook() string {
	var b strings.Builder
	b.WriteString("| alert | means | do |\n|---|---|---|\n")
	for _, a := range alerts {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", a.Name, a.Means, a.Do)
	}
	return b.String()
}

// reasonsOfVotes are the words by which an alert or its runbook names them.
var reasonsOfVotes = regexp.MustCompile("[|\"`]([a-z]+_[a-z_.*]+)")

// TestAlertsNameReasonsThatExist: one that leaves out a reason by a name that it no longer has would ring for it.
func TestAlertsNameReasonsThatExist(t *testing.T) {
	var known []string
	for _, e := range reason.Catalogue {
		if e.Kind == reason.Uncounted {
			known = append(known, e.Codes...)
		}
	}
	i := slices.IndexFunc(alerts, func(a alert) bool { return a.Name == "CodexK8sVotesRefused" })
	named := reasonsOfVotes.FindAllStringSubmatch(alerts[i].Expr+alerts[i].Do, -1)
	for _, n := range named {
		if form := regexp.MustCompile("^" + n[1] + "$"); !slices.ContainsFunc(known, form.MatchString) {
			t.Errorf("%s names %q, which is no reason of a vote", alerts[i].Name, n[1])
		}
	}
	if len(named) < 4 {
		t.Errorf("only %q are looked at", named)
	}
}
