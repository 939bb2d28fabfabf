package main

// What the doctor says of an issue, with names for what differs from one test run to the next.

const explainedRun = `
acme/shop#1  A greeting
Project shop, by the process HASH, the installation's.

Now
  Run ID of run:dev is running; alice asked for it N ago.
  It goes by the process HASH, the installation's.
  It is stopped at DAY TIME, if it is not done by then.
  agent.requested came N ago and is not handled by agent-launcher yet; it is sent DAY TIME. Event ID
  github.change.requested came N ago and is not handled by github-caller yet; it is sent DAY TIME. Event ID
  run.check came N ago and is not handled by run-observer yet; it is sent DAY TIME. Event ID
  run.check came N ago and is not handled by stage-router yet; it is sent DAY TIME. Event ID
  Timer: run.deadline at DAY TIME, for stage-router.
  agent.started came N ago and is not handled by run-observer yet; it is sent DAY TIME. Event ID
  github.change.requested came N ago and is not handled by github-caller yet; it is sent DAY TIME. Event ID

If somebody with the right did it now
  run:abort                stops run ID
  nothing (run_active): Run ID is running. Set ` + "`" + `run:abort` + "`" + ` to stop it.
      run:dev, run:dev:revise

What happened, the newest first
  DAY TIME  run started
                         Job n/agent
                         agent.started of TIME, event ID; run ID; process HASH, the installation's
  DAY TIME  run admitted
                         run.requested of TIME, event ID; run ID; process HASH, the installation's
  DAY TIME  run requested by alice
                         run:dev with the text DIGEST as of DAY TIME UTC
                         github.issues of TIME, event delivery-1; run ID; process HASH, the installation's
  DAY TIME  label ignored (sender_not_permitted) by mallory
                         run:dev: mallory may not start runs in project shop. A maintainer of the project can, or an admin adds the person.
                         → a maintainer of the project does it, or an admin adds the person; who has no role in the project gets no answer
                         github.issues of TIME, event delivery-0; process HASH, the installation's
`
const explainedQueue = `
acme/shop#3  A greeting
Project shop, by the process HASH, the installation's.

Now
  Run ID of run:dev is queued; alice asked for it N ago.
  It goes by the process HASH, the installation's.
  It is number 1 of those that wait for a place in the project: its role has as many as the process allows (parallel).
  run.queued came N ago and is not handled by stage-router yet; it is sent DAY TIME. Event ID
  github.change.requested came N ago and is not handled by github-caller yet; it is sent DAY TIME. Event ID

If somebody with the right did it now
  run:abort                stops run ID
  nothing (run_active): Run ID is queued. Set ` + "`" + `run:abort` + "`" + ` to stop it.
      run:dev, run:dev:revise

What happened, the newest first
  DAY TIME  run queued (no_free_place)
                         role_full: 2 at a time; it is number 1 of those that wait
                         run.requested of TIME, event ID; run ID; process HASH, the installation's
  DAY TIME  run requested by alice
                         run:dev with the text DIGEST as of DAY TIME UTC
                         github.issues of TIME, event delivery-3; run ID; process HASH, the installation's
`
const explainedNothing = `
acme/shop#9
Project shop, by the process HASH, the installation's.
The platform has not heard of it yet: look at "last webhook" in make doctor, and at the deliveries of the webhook on GitHub.

Now
  No run was ever requested.

If somebody with the right did it now
  run:dev                  starts a run of dev (work), codex with gpt-5.4, reasoning high
  nothing (pull_request_missing): There is no pull request to revise. Set ` + "`" + `run:dev` + "`" + ` first.
      run:dev:revise
  nothing (nothing_to_abort): No run is active.
      run:abort
`
const explainedNobody = `
acme/other#1
Its repository belongs to no project, so nothing starts here. An owner adds it to one in the projects file.
The platform has not heard of it yet: look at "last webhook" in make doctor, and at the deliveries of the webhook on GitHub.

Now
  No run was ever requested.

If somebody with the right did it now
  nothing (repository_not_bound): The repository acme/other belongs to no project. An owner of the platform adds it to one.
      run:dev, run:dev:revise, run:abort
`

const simulatedReview = `
If alice (maintainer in the project) did this on acme/shop#1 now: review approved

  It changes +state:approved -run:dev

Labels of the issue
  +state:approved
  -run:dev

Labels of the pull request
  +state:approved

Status comment
  -### ` + "`run:dev`" + `: done, ready for review
  +### ` + "`run:dev`" + `: done and approved
  -| Pull request | #101 |
  +| Pull request | #101, approved |
  -Review the pull request: *Request changes* starts ` + "`run:dev:revise`" + `, and so does the label.
  +Approved by alice at ` + "`abababa`" + `. Ready to merge.

Events
  github.change.requested

Audit
  pull_request.approved by github:alice: #101 at abababababababababababababababababababab

Nothing was changed.
`
