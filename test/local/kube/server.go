package kube

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"mime"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

const maxBody = 4 << 20

// Server is the store over HTTP.
type Server struct {
	Store *Store
	// Logs returns the log of a pod's process for GET …/pods/<name>/log; nil when nobody has logs.
	Logs func(namespace, pod string) (io.ReadCloser, error)

	ca       []byte // PEM
	listener net.Listener
	http     *http.Server
	outage   atomic.Bool

	mu       sync.Mutex
	accounts map[string]account // by token
}

// Serve starts serving the store on a port of 127.0.0.1, 0 for a free one. Requests need a token that WriteConfig or
// WriteAccountConfig has written.
func Serve(s *Store, port int) (*Server, error) {
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return nil, fmt.Errorf("listening for the kubernetes API: %w", err)
	}
	pair, ca, err := certificate()
	if err != nil {
		_ = listener.Close()
		return nil, err
	}
	v := &Server{Store: s, ca: ca, listener: listener, accounts: map[string]account{}}
	v.http = &http.Server{
		Handler:           http.HandlerFunc(v.serve),
		ReadHeaderTimeout: time.Minute,
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, SessionTicketsDisabled: true},
		ErrorLog:          log.New(io.Discard, "", 0), // a client that goes away in its handshake needs no line
	}
	go func() { _ = v.http.ServeTLS(listener, "", "") }()
	return v, nil
}

// URL of the API server.
func (v *Server) URL() string { return "https://" + v.listener.Addr().String() }

// Close stops serving; the store stays.
func (v *Server) Close() { _ = v.http.Close() }

// SetOutage makes every request fail with 503, or ends that. Watches under way go on.
func (v *Server) SetOutage(out bool) { v.outage.Store(out) }

// WriteConfig writes a kubeconfig with which one may do everything.
func (v *Server) WriteConfig(file string) error { return v.writeConfig(file, account{}) }

// WriteAccountConfig writes a kubeconfig of a service account, which may do what the roles in the store say.
func (v *Server) WriteAccountConfig(file, namespace, name string) error {
	return v.writeConfig(file, account{namespace, name})
}

func (v *Server) writeConfig(file string, a account) error {
	config := clientcmdapi.NewConfig()
	config.Clusters["local"] = &clientcmdapi.Cluster{Server: v.URL(), CertificateAuthorityData: v.ca}
	config.AuthInfos["local"] = &clientcmdapi.AuthInfo{Token: v.tokenOf(a)}
	config.Contexts["local"] = &clientcmdapi.Context{Cluster: "local", AuthInfo: "local", Namespace: "codexk8s"}
	config.CurrentContext = "local"
	if err := clientcmd.WriteToFile(*config, file); err != nil {
		return fmt.Errorf("writing the kubeconfig: %w", err)
	}
	return os.Chmod(file, 0o600)
}

// request is a parsed path: /api/v1/… or /apis/<group>/<version>/…, then
// [namespaces/<namespace>/]<plural>[/<name>[/<subresource>]].
type request struct {
	resource                     *Resource
	namespace, name, subresource string
}

func parse(path string) (request, bool) {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	var group, version string
	switch {
	case len(parts) >= 3 && parts[0] == "api":
		version, parts = parts[1], parts[2:]
	case len(parts) >= 4 && parts[0] == "apis":
		group, version, parts = parts[1], parts[2], parts[3:]
	default:
		return request{}, false
	}
	var q request
	if len(parts) >= 3 && parts[0] == "namespaces" && !(len(parts) == 3 && (parts[2] == "status" || parts[2] == "finalize")) {
		q.namespace, parts = parts[1], parts[2:]
	}
	if len(parts) > 3 {
		return request{}, false
	}
	q.resource = find(group, version, parts[0])
	if len(parts) > 1 {
		q.name = parts[1]
	}
	if len(parts) > 2 {
		q.subresource = parts[2]
	}
	if q.resource == nil || q.resource.Cluster && q.namespace != "" {
		return request{}, false
	}
	return q, true
}

func (v *Server) serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Date", v.Store.now().UTC().Format(http.TimeFormat))
	if v.outage.Load() {
		fail(w, apierrors.NewServiceUnavailable("the API server is out"))
		return
	}
	v.mu.Lock()
	who, known := v.accounts[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]
	v.mu.Unlock()
	if !known {
		fail(w, apierrors.NewUnauthorized("Unauthorized"))
		return
	}
	if v.discover(w, r) {
		return
	}
	q, ok := parse(r.URL.Path)
	if !ok {
		http.NotFound(w, r)
		return
	}
	if err := v.admit(w, r, who, q); err != nil {
		fail(w, err)
		return
	}
	code, answer, err := v.do(w, r, q)
	switch {
	case err != nil:
		fail(w, err)
	case answer != nil:
		write(w, code, answer)
	}
}

// admit says whether the account may do it. The body can be read again afterwards.
func (v *Server) admit(w http.ResponseWriter, r *http.Request, who account, q request) error {
	if err := v.authorize(who, verb(r, q), q); err != nil {
		return err
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return apierrors.NewBadRequest(err.Error())
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	if r.Method == http.MethodGet || r.Method == http.MethodDelete {
		return nil
	}
	return v.escalates(who, q, body)
}

// do carries out one request. A nil answer means that it has been written.
func (v *Server) do(w http.ResponseWriter, r *http.Request, q request) (code int, answer any, err error) {
	switch {
	case q.subresource == "log" && q.resource == Pods && r.Method == http.MethodGet:
		return 0, nil, v.log(w, q)
	case q.subresource != "" && !(q.subresource == "status" && q.resource.Status):
		return 0, nil, q.resource.notFound(q.name + "/" + q.subresource)
	case r.Method == http.MethodGet && q.name != "":
		answer, err = v.Store.Get(q.resource, q.namespace, q.name)
	case r.Method == http.MethodGet && r.URL.Query().Get("watch") != "" && r.URL.Query().Get("watch") != "false":
		return 0, nil, v.watch(w, r, q)
	case r.Method == http.MethodGet:
		answer, err = v.list(r, q)
	case r.Method == http.MethodPost && q.name == "":
		o, err := v.object(r, q)
		if err != nil {
			return 0, nil, err
		}
		created, err := v.Store.Create(q.resource, o)
		return http.StatusCreated, created, err
	case r.Method == http.MethodPut && q.name != "":
		o, err := v.object(r, q)
		if err != nil {
			return 0, nil, err
		}
		updated, err := v.Store.Update(q.resource, o, q.subresource == "status")
		return http.StatusOK, updated, err
	case r.Method == http.MethodPatch && q.name != "":
		return v.patch(r, q)
	case r.Method == http.MethodDelete:
		answer, err = v.remove(r, q)
	default:
		err = apierrors.NewMethodNotSupported(q.resource.groupResource(), strings.ToLower(r.Method))
	}
	return http.StatusOK, answer, err
}

// object reads the body, and fills in from the path what a client may leave out.
func (v *Server) object(r *http.Request, q request) (*unstructured.Unstructured, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	o, err := decode(body)
	if err != nil {
		return nil, err
	}
	if o.GetNamespace() == "" {
		o.SetNamespace(q.namespace)
	}
	if o.GetNamespace() != q.namespace {
		return nil, apierrors.NewBadRequest("the namespace of the provided object does not match the namespace sent on the request")
	}
	if q.name != "" && o.GetName() != q.name {
		return nil, apierrors.NewBadRequest("the name of the object does not match the name on the URL")
	}
	return o, nil
}

func (v *Server) patch(r *http.Request, q request) (int, any, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return 0, nil, apierrors.NewBadRequest(err.Error())
	}
	media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	o, created, err := v.Store.Patch(Patch{
		Resource: q.resource, Namespace: q.namespace, Name: q.name, Type: types.PatchType(media), Body: body,
		Status: q.subresource == "status", Manager: r.URL.Query().Get("fieldManager"),
	})
	if created {
		return http.StatusCreated, o, err
	}
	return http.StatusOK, o, err
}

// remove deletes one object, or a collection when the path names none. It answers with the object while it is still
// there and with a Status when it is gone.
func (v *Server) remove(r *http.Request, q request) (any, error) {
	options, err := deleteOptions(r)
	if err != nil {
		return nil, err
	}
	if q.name == "" {
		selector, err := selectorOf(r)
		if err != nil {
			return nil, err
		}
		all, version := v.Store.List(q.resource, q.namespace, selector)
		for _, o := range all {
			if _, err := v.Store.Delete(q.resource, o.GetNamespace(), o.GetName(), options); err != nil && !apierrors.IsNotFound(err) {
				return nil, err
			}
		}
		return listOf(q.resource, all, version), nil
	}
	o, err := v.Store.Delete(q.resource, q.namespace, q.name, options)
	if err != nil {
		return nil, err
	}
	if _, err := v.Store.Get(q.resource, q.namespace, q.name); apierrors.IsNotFound(err) {
		return success(q.resource, o), nil
	}
	return o, nil
}

func deleteOptions(r *http.Request) (o metav1.DeleteOptions, err error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return o, apierrors.NewBadRequest(err.Error())
	}
	if len(body) > 0 {
		if err := json.Unmarshal(body, &o); err != nil {
			return o, apierrors.NewBadRequest(err.Error())
		}
	}
	if policy := metav1.DeletionPropagation(r.URL.Query().Get("propagationPolicy")); policy != "" {
		o.PropagationPolicy = &policy
	}
	return o, nil
}

func selectorOf(r *http.Request) (labels.Selector, error) {
	selector, err := labels.Parse(r.URL.Query().Get("labelSelector"))
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	return selector, nil
}

func (v *Server) log(w http.ResponseWriter, q request) error {
	if _, err := v.Store.Get(Pods, q.namespace, q.name); err != nil {
		return err
	}
	if v.Logs == nil {
		return apierrors.NewBadRequest("nobody keeps logs here")
	}
	log, err := v.Logs(q.namespace, q.name)
	if err != nil {
		return apierrors.NewBadRequest(err.Error())
	}
	defer func() { _ = log.Close() }()
	w.Header().Set("Content-Type", "text/plain")
	_, _ = io.Copy(w, log)
	return nil
}

func write(w http.ResponseWriter, code int, answer any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(answer)
}

// fail writes an error as the API does, as a Status.
func fail(w http.ResponseWriter, err error) {
	var api apierrors.APIStatus
	if !errors.As(err, &api) {
		api = apierrors.NewInternalError(err)
	}
	status := api.Status()
	status.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}
	write(w, int(status.Code), status)
}
