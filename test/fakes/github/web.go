package fakegithub

import (
	"bytes"
	"html/template"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// page shows a browser what there is: the repositories, one repository with its issues, one issue or pull request with its
// conversation. It is for looking only and asks nobody who they are, since the server is one's own.
func (s *Server) page(w http.ResponseWriter, r *http.Request) {
	v := pageView{Title: "Fake GitHub"}
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	found := true
	switch {
	case r.URL.Path == "/":
		v.Repositories = s.Repositories()
		v.Writes = s.Writes()
	case len(parts) == 2:
		found = s.viewRepository(&v, parts[0]+"/"+parts[1])
	case len(parts) == 4 && (parts[2] == "issues" || parts[2] == "pull"):
		found = s.viewIssue(&v, parts[0]+"/"+parts[1], parts[3])
	default:
		found = false
	}
	if !found {
		http.Error(w, "There is no such page. Begin at "+s.base+"/", http.StatusNotFound)
		return
	}
	var out bytes.Buffer
	if err := pageTemplate.Execute(&out, v); err != nil {
		s.log.Error("fake github: showing a page", "path", r.URL.Path, "error", err)
		http.Error(w, "showing this page failed", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	_, _ = w.Write(out.Bytes()) // the browser may have gone
}

type pageView struct {
	Title        string
	Repositories []string
	Writes       []string
	Repository   string
	Issues       []Issue
	Issue        *Issue
	Talk         []talk
	Statuses     []Status
}

// talk is one contribution to a conversation.
type talk struct {
	At              time.Time
	Who, What, Text string
}

func (s *Server) viewRepository(v *pageView, name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.find(name)
	if r == nil {
		return false
	}
	v.Title, v.Repository = r.fullName(), r.fullName()
	for _, is := range r.Issues {
		v.Issues = append(v.Issues, clone(is))
	}
	slices.Reverse(v.Issues)
	return true
}

func (s *Server) viewIssue(v *pageView, name, number string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := strconv.Atoi(number)
	r := s.find(name)
	if err != nil || r == nil || r.issue(n) == nil {
		return false
	}
	is := clone(r.issue(n))
	v.Title, v.Repository, v.Issue = is.Title+" · "+r.fullName()+"#"+number, r.fullName(), &is
	for _, e := range r.Events {
		if e.Issue == n {
			v.Talk = append(v.Talk, talk{At: e.CreatedAt, Who: e.Actor, What: strings.TrimSpace(e.Event + " " + e.Label)})
		}
	}
	for _, m := range r.Comments {
		if m.Issue == n {
			v.Talk = append(v.Talk, talk{m.CreatedAt, m.User, "commented", m.Body})
		}
	}
	for _, w := range r.Reviews {
		if w.Pull == n && w.SubmittedAt != nil {
			v.Talk = append(v.Talk, talk{*w.SubmittedAt, w.User, "reviewed: " + w.State, w.Body})
		}
	}
	for _, m := range r.Remarks {
		if m.Pull == n {
			v.Talk = append(v.Talk, talk{m.CreatedAt, m.User, m.Path + ":" + strconv.Itoa(m.Line), m.Body})
		}
	}
	slices.SortStableFunc(v.Talk, func(a, b talk) int { return a.At.Compare(b.At) })
	if is.Pull != nil {
		v.Statuses = slices.Clone(r.Statuses[is.Pull.HeadSHA])
	}
	return true
}

var pageTemplate = template.Must(template.New("page").Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{{.Title}}</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 56rem; margin: 2rem auto; padding: 0 1rem; color: #1f2328 }
pre { white-space: pre-wrap; background: #f6f8fa; padding: .75rem; border-radius: 6px }
.label { border: 1px solid #8c959f; border-radius: 1rem; padding: 0 .5rem; font-size: .85rem }
.meta { color: #59636e }
</style>
<p><a href="/">Fake GitHub</a>{{with .Repository}} / <a href="/{{.}}">{{.}}</a>{{end}}</p>
<h1>{{.Title}}</h1>
{{with .Repositories}}<ul>{{range .}}<li><a href="/{{.}}">{{.}}</a></li>{{end}}</ul>{{end}}
{{with .Writes}}<h2>What was changed</h2><pre>{{range .}}{{.}}
{{end}}</pre>{{end}}
{{$repo := .Repository}}
{{range .Issues}}<p><a href="/{{$repo}}/{{if .Pull}}pull{{else}}issues{{end}}/{{.Number}}">#{{.Number}} {{.Title}}</a>
<span class="meta">{{if .Pull}}pull request, {{end}}{{.State}}</span> {{range .Labels}}<span class="label">{{.}}</span> {{end}}</p>{{end}}
{{with .Issue}}<p class="meta">{{.User}} · {{if .Pull}}{{.Pull.Head}} into {{.Pull.Base}}, {{if .Pull.MergedAt}}merged{{else}}{{.State}}{{end}}, +{{.Pull.Additions}} −{{.Pull.Deletions}}{{else}}{{.State}}{{end}}
{{range .Labels}}<span class="label">{{.}}</span> {{end}}</p>{{with .Body}}<pre>{{.}}</pre>{{end}}{{end}}
{{range .Statuses}}<p><span class="label">{{.State}}</span> {{.Context}}: {{.Description}} {{with .TargetURL}}<a href="{{.}}">details</a>{{end}}</p>{{end}}
{{range .Talk}}<p class="meta">{{.At.Format "15:04:05"}} <b>{{.Who}}</b> {{.What}}</p>{{with .Text}}<pre>{{.}}</pre>{{end}}{{end}}
</html>
`))
