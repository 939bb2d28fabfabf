package main

import (
	"context"
	"io"

	"codexk8s.dev/functions/console/internal/api"
	"codexk8s.dev/shared/access"
)

// ExportAudit streams. An outage in the middle breaks the connection, so that nobody takes a part for the whole.
func (c contract) ExportAudit(ctx context.Context, _ api.ExportAuditRequestObject) (api.ExportAuditResponseObject, error) {
	if !visitor(ctx).Standing.May(access.ExportAudit, access.Everywhere) {
		return nil, problem{slug: "forbidden", detail: string(access.ExportAudit.Least())}
	}
	r, w := io.Pipe()
	go func() { w.CloseWithError(c.h.db.ExportAudit(ctx, w)) }()
	return api.ExportAudit200ApplicationxNdjsonResponse{Body: r}, nil
}
