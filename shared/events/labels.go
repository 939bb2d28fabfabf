package events

// GitHubLabelsRequested asks for labels of a repository to be as they are here. Its other labels are nobody's business.
type GitHubLabelsRequested struct {
	Repository   string            `json:"repository"`             // "acme/demo"
	RepositoryID int64             `json:"repositoryId,omitempty"` // GitHub's number; 0 = not known
	Labels       []RepositoryLabel `json:"labels"`
}

// RepositoryLabel is a label that a repository has.
type RepositoryLabel struct {
	Name        string `json:"name"`        // at most 50 characters
	Colour      string `json:"colour"`      // six hexadecimal digits
	Description string `json:"description"` // at most 100 characters
}

// EventType is dev.codexk8s.github.labels.requested.
func (GitHubLabelsRequested) EventType() string { return Prefix + "github.labels.requested" }

// EventSubject is the repository.
func (r GitHubLabelsRequested) EventSubject() string { return r.Repository }
