package hostile

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"codexk8s.dev/shared/events"
)

// Templates are payloads of ours by event type, with something in every field that is empty.
func Templates(t testing.TB, payloads ...events.Payload) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, p := range payloads {
		v := reflect.New(reflect.TypeOf(p)).Elem()
		v.Set(reflect.ValueOf(p))
		fill(v)
		data, err := json.Marshal(v.Interface())
		if err != nil {
			t.Fatal(err)
		}
		all[p.EventType()] = string(data)
	}
	return all
}

// fill gives every empty field a value of its kind.
func fill(v reflect.Value) {
	if !v.IsZero() && v.Kind() != reflect.Struct {
		return
	}
	if _, ok := v.Interface().(time.Time); ok {
		if v.IsZero() {
			v.Set(reflect.ValueOf(time.Date(2100, 1, 2, 3, 4, 5, 0, time.UTC)))
		}
		return
	}
	if v.Type() == reflect.TypeFor[json.RawMessage]() {
		v.SetBytes([]byte(`{"x":"x"}`))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString("x")
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(1)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key)
		fill(value)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.Struct:
		for _, field := range v.Fields() {
			fill(field)
		}
	}
}
