//! The attribute macro of flowlock; used through `flowlock::job`.

use proc_macro::TokenStream;
use quote::{format_ident, quote};
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Expr, ExprArray, Ident, ItemFn, LitStr, ReturnType, Token, parse_macro_input};

/// Runs a function while its claims are held: commits if it returns `Ok`, fails if it returns `Err` or
/// panics. The function's first parameter must be a `&Flowlock`; it must return a `Result` whose error
/// can be made from `flowlock::Error`.
///
/// `#[flowlock::job(name = "…", inputs = […], outputs = […], locks = […], shared_locks = […])]`: names
/// are expressions and may use the function's parameters; the default of `name` is the function's name.
/// Inside the function, `grant` is the grant.
#[proc_macro_attribute]
pub fn job(arguments: TokenStream, function: TokenStream) -> TokenStream {
    let arguments = parse_macro_input!(arguments as Arguments);
    let function = parse_macro_input!(function as ItemFn);
    expand(&arguments, &function).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// The attribute's arguments.
struct Arguments {
    name: Option<Expr>,
    /// The builder's method, and the names it is called with.
    claims: Vec<(Ident, ExprArray)>,
}

/// Each argument that lists names, with the method of `Job` that takes one.
const LISTS: [(&str, &str); 4] =
    [("inputs", "input"), ("outputs", "output"), ("locks", "lock"), ("shared_locks", "lock_shared")];

impl Parse for Arguments {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let mut arguments = Self { name: None, claims: Vec::new() };
        for pair in Punctuated::<Pair, Token![,]>::parse_terminated(input)? {
            match (LISTS.iter().find(|(list, _)| pair.key == list), pair.value) {
                (Some((_, method)), Expr::Array(names)) => {
                    arguments.claims.push((format_ident!("{method}"), names));
                }
                (None, value) if pair.key == "name" => arguments.name = Some(value),
                _ => {
                    let message =
                        "use name = \"…\", inputs = […], outputs = […], locks = […], shared_locks = […]";
                    return Err(syn::Error::new(pair.key.span(), message));
                }
            }
        }
        Ok(arguments)
    }
}

struct Pair {
    key: Ident,
    value: Expr,
}

impl Parse for Pair {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let key = input.parse()?;
        input.parse::<Token![=]>()?;
        Ok(Self { key, value: input.parse()? })
    }
}

fn expand(arguments: &Arguments, function: &ItemFn) -> syn::Result<proc_macro2::TokenStream> {
    let ItemFn { attrs, vis, sig, block, .. } = function;
    if sig.asyncness.is_some() {
        return Err(syn::Error::new_spanned(
            sig,
            "an async function is not supported; use `Job::with` inside it",
        ));
    }
    if matches!(sig.output, ReturnType::Default) {
        return Err(syn::Error::new_spanned(sig, "the function must return a Result: Ok commits, Err fails"));
    }
    let Some(syn::FnArg::Typed(first)) = sig.inputs.first() else {
        return Err(syn::Error::new_spanned(sig, "the first parameter must be a `&Flowlock`"));
    };
    let flowlock = &first.pat;
    let own_name = LitStr::new(&sig.ident.to_string(), sig.ident.span());
    let name = arguments.name.as_ref().map_or_else(|| quote!(#own_name), |name| quote!(#name));
    let claims = arguments.claims.iter().flat_map(|(method, names)| {
        names.elems.iter().map(move |name| quote!(.#method(::std::string::String::from(#name))))
    });
    Ok(quote! {
        #(#attrs)*
        #vis #sig {
            let __job = ::flowlock::Flowlock::job(#flowlock, #name) #(#claims)*;
            __job.with(|grant| {
                let _ = grant;
                #block
            })
        }
    })
}
