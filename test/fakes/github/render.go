package fakegithub

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// The functions here write accounts, repositories and labels as the REST API and the webhooks show them, with all
// fields that GitHub sends, since consumers measure themselves against payloads of real size.

func (s *Server) api(format string, args ...any) string {
	return s.base + "/api/v3" + fmt.Sprintf(format, args...)
}

func (s *Server) web(format string, args ...any) string { return s.base + fmt.Sprintf(format, args...) }

func nodeID(kind string, id int64) string {
	return kind + "_kwDO" + base64.RawURLEncoding.EncodeToString([]byte(strconv.FormatInt(id, 10)))
}

// orNull writes an empty text as null, as GitHub does for bodies and descriptions.
func orNull(text string) any {
	if text == "" {
		return nil
	}
	return text
}

func (s *Server) userObject(u *User) object {
	path := url.PathEscape(u.Login)
	at := s.api("/users/%s", path)
	page := s.web("/%s", path)
	if u.Type == "Bot" {
		page = s.web("/apps/%s", strings.TrimSuffix(u.Login, "[bot]"))
	}
	return object{
		"login": u.Login, "id": u.ID, "node_id": nodeID("U", u.ID), "avatar_url": s.web("/avatars/u/%d?v=4", u.ID),
		"gravatar_id": "", "url": at, "html_url": page, "followers_url": at + "/followers",
		"following_url": at + "/following{/other_user}", "gists_url": at + "/gists{/gist_id}",
		"starred_url": at + "/starred{/owner}{/repo}", "subscriptions_url": at + "/subscriptions",
		"organizations_url": at + "/orgs", "repos_url": at + "/repos", "events_url": at + "/events{/privacy}",
		"received_events_url": at + "/received_events", "type": u.Type, "user_view_type": "public", "site_admin": false,
	}
}

func (s *Server) organizationObject(u *User) object {
	at := s.api("/orgs/%s", u.Login)
	return object{
		"login": u.Login, "id": u.ID, "node_id": nodeID("O", u.ID), "url": at, "repos_url": at + "/repos",
		"events_url": at + "/events", "hooks_url": at + "/hooks", "issues_url": at + "/issues",
		"members_url": at + "/members{/member}", "public_members_url": at + "/public_members{/member}",
		"avatar_url": s.web("/avatars/u/%d?v=4", u.ID), "description": "",
	}
}

// repositoryLinks are the templates of a repository's parts, relative to its API URL.
var repositoryLinks = map[string]string{
	"forks_url": "/forks", "keys_url": "/keys{/key_id}", "collaborators_url": "/collaborators{/collaborator}",
	"teams_url": "/teams", "hooks_url": "/hooks", "issue_events_url": "/issues/events{/number}", "events_url": "/events",
	"assignees_url": "/assignees{/user}", "branches_url": "/branches{/branch}", "tags_url": "/tags",
	"blobs_url": "/git/blobs{/sha}", "git_tags_url": "/git/tags{/sha}", "git_refs_url": "/git/refs{/sha}",
	"trees_url": "/git/trees{/sha}", "statuses_url": "/statuses/{sha}", "languages_url": "/languages",
	"stargazers_url": "/stargazers", "contributors_url": "/contributors", "subscribers_url": "/subscribers",
	"subscription_url": "/subscription", "commits_url": "/commits{/sha}", "git_commits_url": "/git/commits{/sha}",
	"comments_url": "/comments{/number}", "issue_comment_url": "/issues/comments{/number}",
	"contents_url": "/contents/{+path}", "compare_url": "/compare/{base}...{head}", "merges_url": "/merges",
	"archive_url": "/{archive_format}{/ref}", "downloads_url": "/downloads", "issues_url": "/issues{/number}",
	"pulls_url": "/pulls{/number}", "milestones_url": "/milestones{/number}",
	"notifications_url": "/notifications{?since,all,participating}", "labels_url": "/labels{/name}",
	"releases_url": "/releases{/id}", "deployments_url": "/deployments",
}

func (s *Server) repositoryObject(r *repository) object {
	at, page := s.api("/repos/%s", r.fullName()), s.web("/%s", r.fullName())
	open := 0
	for _, is := range r.Issues {
		if is.State == "open" {
			open++
		}
	}
	visibility := "public"
	if r.Private {
		visibility = "private"
	}
	host := strings.TrimPrefix(strings.TrimPrefix(s.base, "https://"), "http://")
	o := object{
		"id": r.ID, "node_id": nodeID("R", r.ID), "name": r.Name, "full_name": r.fullName(), "private": r.Private,
		"owner": s.userObject(s.user(r.Owner)), "html_url": page, "description": orNull(r.Description), "fork": false,
		"url": at, "created_at": r.CreatedAt, "updated_at": r.UpdatedAt, "pushed_at": r.PushedAt,
		"git_url": "git://" + host + "/" + r.fullName() + ".git", "ssh_url": "git@" + host + ":" + r.fullName() + ".git",
		"clone_url": page + ".git", "svn_url": page, "homepage": nil, "size": 12, "stargazers_count": 0,
		"watchers_count": 0, "language": nil, "has_issues": true, "has_projects": true, "has_downloads": true,
		"has_wiki": true, "has_pages": false, "has_discussions": false, "forks_count": 0, "mirror_url": nil,
		"archived": false, "disabled": false, "open_issues_count": open, "license": nil, "allow_forking": true,
		"is_template": false, "web_commit_signoff_required": false, "topics": []string{}, "visibility": visibility,
		"forks": 0, "open_issues": open, "watchers": 0, "default_branch": r.DefaultBranch, "custom_properties": object{},
	}
	for name, link := range repositoryLinks {
		o[name] = at + link
	}
	return o
}

func (s *Server) labelObject(r *repository, l *Label) object {
	return object{
		"id": l.ID, "node_id": nodeID("LA", l.ID), "url": s.api("/repos/%s/labels/%s", r.fullName(), url.PathEscape(l.Name)),
		"name": l.Name, "color": l.Color, "default": l.Default, "description": orNull(l.Description),
	}
}

func (s *Server) labelObjects(r *repository, names []string) []object {
	out := []object{}
	for _, name := range names {
		if l := r.label(name); l != nil {
			out = append(out, s.labelObject(r, l))
		}
	}
	return out
}

func reactions(at string) object {
	return object{
		"url": at + "/reactions", "total_count": 0, "+1": 0, "-1": 0, "laugh": 0, "hooray": 0, "confused": 0, "heart": 0, "rocket": 0, "eyes": 0,
	}
}
